/** What it means for the step how its program ended. Pure. */
import { z } from 'zod';
import { lastJson } from '../../process/last-json.js';
import type { Finished } from '../../process/run.js';
import { StepError } from '../contract.js';
import type { Grant } from './grants.js';

export const CommandResult = z.object({
  exit_code: z.int(),
  stdout: z.string(),
  stderr: z.string(),
  /** The last JSON object or array of stdout. */
  json: z.unknown().optional(),
  duration_ms: z.number(),
  /** Was anything left out of stdout or stderr? */
  truncated: z.boolean(),
});
export type CommandResult = z.output<typeof CommandResult>;

/** EX_TEMPFAIL of sysexits.h: the program itself says that another try may work. */
const temporaryFailure = 75;
/** Enough of an output to see what it was about. */
const shownChars = 1_000;

/**
 * The result of a program that ended well. Otherwise throws a `StepError`. A program that says it failed did as much as
 * it could, and what it did before is done: another try is not made blindly. So an exit code is permanent, but for 75
 * and those that the policy lists. When it was ended from outside nobody knows how far it came.
 */
export function judge(grant: Grant, finished: Finished): CommandResult {
  const { ending, code, signal } = finished;
  if (ending === 'timed_out')
    throw unknown(`${grant.name} ran longer than ${grant.timeout_seconds} seconds`, 'TimedOut');
  if (code === null) throw unknown(`${grant.name} was ended by ${signal ?? 'a signal'}`, 'Killed');
  if (code !== 0) throw failed(grant, code, finished);
  return toResult(code, finished);
}

function failed({ name, retry_exit_codes = [] }: Grant, code: number, finished: Finished): StepError {
  const mayRetry = code === temporaryFailure || retry_exit_codes.includes(code);
  const said = lastWords(finished);
  return new StepError(`${name} ended with exit code ${code}${said === '' ? '' : `: ${said}`}`, {
    outcome: mayRetry ? 'retryable' : 'permanent',
    errorClass: 'ExitCode',
    detail: { exit_code: code },
    hint: mayRetry
      ? 'It is tried again.'
      : `Look at what it says. If another try can help, list ${code} in commands.${name}.retry_exit_codes of worker_policy.`,
  });
}

const unknown = (message: string, errorClass: string): StepError =>
  new StepError(`${message}; nobody knows how far it came`, {
    outcome: 'unknown',
    errorClass,
    hint: 'See what it has done, then retry or discard the dead letter.',
  });

function toResult(exit_code: number, { stdout, stderr, durationMs }: Finished): CommandResult {
  const json = lastJson(stdout.text);
  return {
    exit_code,
    stdout: stdout.text,
    stderr: stderr.text,
    ...(json !== undefined && { json }),
    duration_ms: durationMs,
    truncated: stdout.truncated || stderr.truncated,
  };
}

function lastWords({ stdout, stderr }: Finished): string {
  const said = stderr.text.trim() === '' ? stdout.text : stderr.text;
  return said.trim().slice(-shownChars);
}
