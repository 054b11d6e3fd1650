/** The `wreckit` executor: lets wreckit take ideas to pull requests, and believes only the state it shows afterwards. */
import { defineExecutor, processLocalLimit } from '../contract.js';
import { examine } from './doctor.js';
import { WreckitParams } from './params.js';
import { WreckitResult } from './result.js';
import { runWreckit } from './run.js';

export const wreckit = defineExecutor({
  name: 'wreckit',
  params: WreckitParams,
  result: WreckitResult,
  traits: {
    // An item goes on from the state it is in, whoever brought it there.
    idempotent: true,
    risk: 'high',
    localLimit: processLocalLimit,
    needs: ['wreckit', 'git', 'gh'],
    touches: ['secrets', 'outside'],
    exclusive: 'repository',
    fixed: ['command', 'force', 'fix'],
  },
  run: (ctx) => runWreckit(ctx, ctx.params),
  doctor: examine,
});
