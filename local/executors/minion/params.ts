/** What a minion step may ask for. */
import { z } from 'zod';
import { WreckitParams } from '../wreckit/params.js';

/** A command by its name in the policy, and a value for each place that the policy leaves open. */
export const CommandParams = z.strictObject({
  command: z.string().min(1).max(500).describe('a command of allowed_commands'),
  arguments: z
    .array(z.union([z.string().max(100_000), z.number()]))
    .max(1000)
    .optional(),
  /** Inside of the workspace, and of the command's own `cwd`. */
  cwd: z.string().min(1).max(1000).optional(),
  stdin: z.string().max(1_000_000).optional(),
});
export type CommandParams = z.output<typeof CommandParams>;

export const MinionParams = z.union([CommandParams, z.strictObject({ wreckit: WreckitParams })]);
