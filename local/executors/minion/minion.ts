/** The `minion` executor: a command that the policy allows, in the workspace, or a wreckit command; nothing else. */
import { z } from 'zod';
import { defineExecutor, processLocalLimit } from '../contract.js';
import { WreckitResult } from '../wreckit/result.js';
import { runWreckit } from '../wreckit/run.js';
import { runCommand } from './command.js';
import { examine } from './doctor.js';
import { CommandResult } from './judgement.js';
import { MinionParams } from './params.js';

export const minion = defineExecutor({
  name: 'minion',
  params: MinionParams,
  result: z.union([CommandResult, WreckitResult]),
  traits: {
    // Nobody knows what a command does twice.
    idempotent: false,
    risk: 'high',
    localLimit: processLocalLimit,
    touches: ['secrets', 'outside'],
    exclusive: 'wreckit.repository',
    fixed: ['command', 'cwd', 'wreckit'],
  },
  run: (ctx) => ('wreckit' in ctx.params ? runWreckit(ctx, ctx.params.wreckit) : runCommand(ctx, ctx.params)),
  doctor: examine,
});
