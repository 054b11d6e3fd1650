/** What the names in `allowed_commands` of `worker_policy` stand for. */
import { z } from 'zod';
import { secondsPerWeek, spanUpTo, text, variable, whole } from './fields.js';

/** Words of `openclaw agent --thinking` (OpenClaw, docs/cli/agent.md); which of them a model has is its provider's. */
export const openclawThinkingLevels = [
  'off',
  'minimal',
  'low',
  'medium',
  'high',
  'xhigh',
  'adaptive',
  'max',
  'ultra',
] as const;

/** A value that a step gives for one argument of a command. local/executors/minion/values.ts says what is checked. */
const CommandValue = z.strictObject({
  value: z.enum(['word', 'integer', 'path', 'new_path', 'pattern', 'text']),
  /** `word`: one of these. An option is never a value, so none begins with a dash. */
  words: z
    .array(z.string().max(200).regex(/^[^-]/).describe('a word that does not begin with "-"'))
    .max(100)
    .optional(),
  /** `integer`. */
  min: whole(-1_000_000_000, 1_000_000_000).optional(),
  max: whole(-1_000_000_000, 1_000_000_000).optional(),
  /** `pattern`: a regular expression over the whole value. */
  pattern: text(500).optional(),
  /** `pattern` and `text`: characters. */
  max_length: whole(1, 100_000).optional(),
  /** Stands before the value in the same argument, such as `--title=`: one that begins with a dash ends with `=`. */
  prefix: z
    .string()
    .max(200)
    .regex(/^([^-].*|-.*=)$/)
    .describe('a text such as "--title=" or "file:"')
    .optional(),
  /** May be left out when no value is left for it. */
  optional: z.boolean().optional(),
  /** Up to so many values, each an argument of its own. */
  repeat: whole(1, 1000).optional(),
});
export type CommandValue = z.output<typeof CommandValue>;

/** What a name in `allowed_commands` stands for. */
export const Command = z.strictObject({
  program: text(1000).optional(),
  /** A text is always there as it is; an object takes a value of the step. */
  arguments: z
    .array(z.union([text(4000), CommandValue]))
    .max(100)
    .optional(),
  /** Inside of the workspace. */
  cwd: text(1000).optional(),
  /** Variables of the worker that are handed on. */
  env: z.array(variable).max(100).optional(),
  timeout_seconds: spanUpTo(secondsPerWeek).optional(),
  retry_exit_codes: z.array(whole(1, 255)).max(50).optional(),
  interpreter_consent: z.boolean().optional(),
});
export type Command = z.output<typeof Command>;
