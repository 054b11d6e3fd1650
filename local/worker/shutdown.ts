/** Ends a worker in order, and binds it to the signals of its process. */
import type { Logger } from 'pino';
import type { Completer } from './completer.js';
import { write } from './log.js';
import type { Runner } from './runner.js';
import type { Lifecycle } from './state.js';

/**
 * What is left after the grace, one after the other: 4 s together, so that a second remains for the process to end
 * within grace + 5 s, whatever executors and database do.
 */
export const abortMs = 2_000;
export const writeMs = 1_500;
export const goodbyeMs = 500;

export type ShutdownDeps = {
  lifecycle: Lifecycle;
  runner: Runner;
  completer: Completer;
  log: Logger;
  graceMs: number;
  /** Wakes the loops, so that they see that they are to end. */
  wake: () => void;
  /** Resolves when the claim that is under way has been answered, or the time is up. */
  claimsEnded: (delayMs: number) => Promise<void>;
};

/** Gives back what has not started, lets the rest finish, then aborts it, and writes all outcomes. */
export async function drain(deps: ShutdownDeps): Promise<void> {
  const { lifecycle, runner, completer, log, graceMs } = deps;
  lifecycle.to('draining');
  deps.wake();
  const released = runner.takeBackUnstarted().length;
  write(log, 'info', { event: 'worker.draining', running: runner.running.size, released });
  // What a late answer brings is given back at once; left alone, it would count as a crash when its lease ends.
  const claimsEnded = deps.claimsEnded(graceMs);
  if (!(await runner.settled(graceMs))) await abort(deps);
  await claimsEnded;
  lifecycle.to('stopping');
  if (!(await completer.drained(writeMs))) {
    const unwritten = completer.abandon();
    write(log, 'warn', { event: 'writeback.dropped', unwritten });
  }
}

async function abort({ runner }: ShutdownDeps): Promise<void> {
  runner.endAll('shutdown');
  if (await runner.settled(abortMs)) return;
  for (const attempt of runner.running) runner.giveUp(attempt);
}

export type SignalTarget = {
  on(signal: NodeJS.Signals, listener: () => void): unknown;
  off(signal: NodeJS.Signals, listener: () => void): unknown;
};
export type SignalHooks = {
  /** The first TERM or INT. */
  stop: () => void;
  /** The second: everything ends now, with this exit code (128 + the signal's number). */
  force: (exitCode: number) => void;
  /** HUP. */
  reload: () => void;
};

const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const;

/** Listens to TERM, INT and HUP; the answer stops listening. */
export function bindSignals(target: SignalTarget, { stop, force, reload }: SignalHooks): () => void {
  let isStopping = false;
  const onEnd = (exitCode: number) => () => {
    if (isStopping) return force(exitCode);
    isStopping = true;
    stop();
  };
  const onTerm = onEnd(exitCodes.SIGTERM);
  const onInt = onEnd(exitCodes.SIGINT);
  const bound = [
    ['SIGTERM', onTerm],
    ['SIGINT', onInt],
    ['SIGHUP', reload],
  ] as const;
  for (const [signal, listener] of bound) target.on(signal, listener);
  return () => {
    for (const [signal, listener] of bound) target.off(signal, listener);
  };
}
