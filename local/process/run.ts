/**
 * The one way in which executors start programs: never a shell, only the listed environment, output kept at its ends,
 * and no process left when it is over, however it ends.
 */
import { OpsError } from '../../supabase/client/errors.js';
import { StepError } from '../executors/contract.js';
import { createCleaner } from './clean.js';
import { killAtExit } from './exit.js';
import { firstEnding } from './limits.js';
import { readOutput } from './output.js';
import { type Started, startProgram } from './start.js';
import { goneWithin } from './tree.js';

export type Command = {
  /** A name looked up on `env.PATH`, or an absolute path. */
  program: string;
  /** Handed over as they are; there is never a shell. */
  args: readonly string[];
  /** Confined before, by `confine()`. */
  cwd: string;
  /** The whole environment of the child; the runner adds its own marker. */
  env: Readonly<Record<string, string>>;
  /** Default: closed at once. */
  stdin?: string;
  /** Aborting it ends the whole tree: TERM, grace, KILL. */
  signal: AbortSignal;
  /** Wall clock. Default: none, the signal ends it. */
  timeoutMs?: number;
  /** No output for so long. Default: none. */
  idleMs?: number;
  /** Between TERM and KILL. Default 5000; at most 500 when the signal says that the lease is lost. */
  graceMs?: number;
  /** Of stdout and stderr each; head and tail are kept, half each. Default 256 KiB. */
  keepBytes?: number;
  /** Values cut out of what is kept. */
  secrets?: ReadonlySet<string>;
  /** For progress: lines of both outputs, ANSI stripped, capped in length and number. */
  onLine?(line: string): void;
};

/** What was kept of an output: ANSI stripped, secrets cut, storable. */
export type Captured = {
  text: string;
  /** All that was written, kept or not. */
  bytes: number;
  truncated: boolean;
};

export type Finished = {
  /** What came first. `idle`: no output for too long. */
  ending: 'exited' | 'timed_out' | 'idle' | 'aborted';
  /** Null when a signal ended it. */
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: Captured;
  stderr: Captured;
  durationMs: number;
};

const defaultGraceMs = 5_000;
/** When its lease is lost another worker may start the same step at any moment: a tenth of a lease of five seconds. */
const lostGraceMs = 500;
const defaultKeepBytes = 256 * 1024;
/** Helpers of a program that has ended get this long to end by themselves, such as the `tee` of its output. */
const partingMs = 500;

/**
 * Runs a program to its end and leaves no process. A program that ends by itself ends the run; what it left behind is
 * ended too. With a signal that is aborted already nothing is started. Throws a permanent `StepError`: `NotFound` when
 * the program is not there, `Confinement` when its directory is not, `NotStarted` or `ArgumentsTooLong` when the
 * system refuses it; and one with outcome `unknown` and class `NotEnded` when a process cannot be killed.
 */
export async function runProcess(command: Command): Promise<Finished> {
  if (command.signal.aborted) return neverStarted;
  const startedAt = performance.now();
  const started = await startProgram(command);
  const { tree, child, stdout: out, stderr: err } = started;
  const forget = killAtExit(tree);
  let isOver = false;
  try {
    const outputs = readOutputs(command, started);
    started.stdin?.on('error', () => {}).end(command.stdin);
    const ending = await firstEnding(command, started);
    await endTree(command, started, ending);
    isOver = true;
    const [stdout, stderr] = await outputs();
    const { exitCode: code, signalCode: signal } = child;
    return { ending, code, signal, stdout, stderr, durationMs: Math.round(performance.now() - startedAt) };
  } finally {
    forget();
    tree.leave();
    if (!isOver) tree.kill();
    for (const stream of [out, err]) stream.destroy();
  }
}

const nothing: Captured = { text: '', bytes: 0, truncated: false };
const neverStarted: Finished = {
  ending: 'aborted',
  code: null,
  signal: null,
  stdout: nothing,
  stderr: nothing,
  durationMs: 0,
};

function readOutputs(command: Command, { stdout, stderr }: Started) {
  const { keepBytes = defaultKeepBytes, secrets = [] } = command;
  const onLine = command.onLine && ((line: string) => command.onLine?.(line));
  const options = { keepBytes, onLine, cleaner: createCleaner(secrets) };
  const [out, err] = [readOutput(stdout, options), readOutput(stderr, options)];
  return () => Promise.all([out(), err()]);
}

async function endTree(
  { program, signal, graceMs = defaultGraceMs }: Command,
  { tree, exited }: Started,
  ending: Finished['ending'],
): Promise<void> {
  if (ending === 'exited' && (await goneWithin(tree.look, partingMs))) return;
  const isLost = signal.reason instanceof OpsError && signal.reason.code === 'OPS_006';
  const left = await tree.end(isLost ? Math.min(graceMs, lostGraceMs) : graceMs);
  if (left.length === 0) return exited;
  const pids = left.map(({ pid }) => pid).join(', ');
  throw new StepError(`${program} could not be ended; left are the processes ${pids}`, {
    outcome: 'unknown',
    errorClass: 'NotEnded',
    hint: 'Look at them on the worker: they run as another user, or wait inside the system for a disk or a network.',
  });
}
