/** Starts the program of a run, so that what becomes of it can be followed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { StepError } from '../executors/contract.js';
import { branded, brandFor, brandOf, type Invocation } from './brand.js';
import { concealEnvironment } from './conceal.js';
import { markerName, markersOf, markerText, newMarker } from './marker.js';
import { findProgram } from './program.js';
import type { Command } from './run.js';
import { readEntry } from './table.js';
import { type Tree, watchTree } from './tree.js';

export type Started = {
  child: ChildProcess;
  stdout: Readable;
  stderr: Readable;
  stdin: Writable | null;
  tree: Tree;
  /** Resolves once the program itself has ended; others of its tree may go on. */
  exited: Promise<void>;
};

/** Errnos of a machine that is short of something; another try may find it. */
const shortages = new Set(['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE']);

let runs = 0;

/** Throws a `StepError` when the program cannot be started. */
export async function startProgram(command: Command): Promise<Started> {
  const file = await findProgram(command.program, command.env.PATH ?? '');
  if (file === undefined) throw notFound(command.program);
  if (!isDirectory(command.cwd))
    throw permanent(`the directory ${command.cwd} does not exist`, 'Confinement');
  concealEnvironment();
  const marker = newMarker();
  const brand = brandFor(marker.worker, ++runs);
  const child = spawnIn(command, await branded({ file, args: command.args }, brand), markerText(marker));
  const { pid, stdin, stdout, stderr } = child;
  if (pid === undefined || stdout === null || stderr === null)
    throw cannotStart(command.program, (await once(child, 'error'))[0]);
  const exited = once(child, 'exit').then(() => {});
  const tree = watchTree({
    // Nothing is reaped before the next turn of the event loop, so it still has an entry, with its start.
    root: { pid, start: readEntry(pid)?.start ?? 0 },
    isReaped: () => child.exitCode !== null || child.signalCode !== null,
    isMarked: (other) => markersOf(other).some(({ run }) => run === marker.run) || brandOf(other) === brand,
  });
  return { child, stdin, stdout, stderr, tree, exited };
}

function spawnIn(
  { program, cwd, env, stdin }: Command,
  { file, args }: Invocation,
  marker: string,
): ChildProcess {
  try {
    return spawn(file, args, {
      cwd,
      env: { ...env, [markerName]: marker },
      // A session and process group of its own, so that one signal reaches all that stay in it.
      detached: true,
      shell: false,
      stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
  } catch (cause) {
    throw cannotStart(program, cause);
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function cannotStart(program: string, cause: unknown): StepError {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'ENOENT') return notFound(program);
  const why = code === 'E2BIG' ? 'its arguments are too long' : (code ?? 'unknown reason');
  const message = `the program ${program} cannot be started: ${why}`;
  if (code !== undefined && shortages.has(code)) return new StepError(message, { errorClass: code });
  return permanent(message, code === 'E2BIG' ? 'ArgumentsTooLong' : 'NotStarted');
}

const permanent = (message: string, errorClass: string): StepError =>
  new StepError(message, { outcome: 'permanent', errorClass });

const notFound = (program: string): StepError =>
  new StepError(`there is no program ${program} on this machine`, {
    outcome: 'permanent',
    errorClass: 'NotFound',
    hint: 'Install it where PATH of the worker leads to, or take the step to a worker that has it.',
  });
