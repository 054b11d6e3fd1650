/** Calls of wreckit in one repository. */
import { listedEnvironment, traceVariable } from '../../process/environment.js';
import { type Finished, runProcess } from '../../process/run.js';
import { type StepContext, StepError } from '../contract.js';
import { unreadable } from './failure.js';
import type { Repository } from './repository.js';

/** What running wreckit takes of a step's context. */
export type WreckitContext = Pick<
  StepContext,
  | 'signal'
  | 'attempt'
  | 'idempotencyKey'
  | 'traceparent'
  | 'workspace'
  | 'config'
  | 'secret'
  | 'setting'
  | 'progress'
>;

/** A name looked up on PATH, or an absolute path. */
export const programOf = (ctx: Pick<StepContext, 'setting'>): string =>
  ctx.setting('OPS_WRECKIT_BIN') ?? 'wreckit';

export type Call = { stdin?: string; onLine?(line: string): void };
export type Wreckit = {
  /** Runs it to its end, which may take hours; the step's own signal ends it. Throws the signal's reason then. */
  run(args: readonly string[], call?: Call): Promise<Finished>;
  /** Asks for JSON and reads it. Throws a `StepError` when it does not answer, or not that. */
  ask<T>(args: readonly string[], read: (stdout: string) => T | undefined): Promise<T>;
};

/** Reading a few files takes it half a second. */
const answerMs = 60_000;
/** Backlogs in JSON are larger than logs. */
const answerBytes = 4 * 1024 * 1024;

/** `variables` are those that the policy grants; their values are cut out of what is kept. */
export function openWreckit(
  ctx: WreckitContext,
  { directory }: Repository,
  variables: Record<string, string>,
): Wreckit {
  const { signal } = ctx;
  const base = {
    ...{ program: programOf(ctx), cwd: directory, signal, secrets: new Set(Object.values(variables)) },
    env: listedEnvironment({
      ...quiet,
      ...traceVariable(ctx),
      OPS_IDEMPOTENCY_KEY: ctx.idempotencyKey,
      ...variables,
    }),
  };
  const run: Wreckit['run'] = async (args, call = {}) =>
    unlessAborted(signal, await runProcess({ ...base, ...call, args }));
  return {
    run,
    ask: async (args, read) => {
      const command = { ...base, args, timeoutMs: answerMs, keepBytes: answerBytes };
      const finished = unlessAborted(signal, await runProcess(command));
      const asked = args.join(' ');
      if (finished.ending !== 'exited') throw silent(asked);
      return read(finished.stdout.text) ?? fail(unreadable(asked, finished));
    },
  };
}

/**
 * `CI` turns wreckit's terminal interface off, which is what makes TERM end it; its `--no-tui` has no effect. Neither
 * git nor gh may wait for somebody to type a password.
 */
const quiet = { CI: '1', GIT_TERMINAL_PROMPT: '0', GH_PROMPT_DISABLED: '1' };

function unlessAborted(signal: AbortSignal, finished: Finished): Finished {
  if (finished.ending === 'aborted') throw signal.reason;
  return finished;
}

const silent = (asked: string): StepError =>
  new StepError(`wreckit ${asked} did not answer within ${answerMs / 1_000} seconds`, {
    errorClass: 'NoAnswer',
    hint: 'Call it by hand in the repository and see what it waits for.',
  });

function fail(error: StepError): never {
  throw error;
}
