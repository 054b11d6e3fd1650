/** Starts `child.ts` and does to it what no worker can do to itself. */
import { type ChildProcess, fork } from 'node:child_process';
import { renameSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { onTestFinished } from 'vitest';
import type { LogEvent, LogLine } from '../../local/worker/log.js';
import type { Beat } from '../../supabase/client/beat.js';
import { until } from '../support/until.js';
import type { ChildConfig, Gate, Message } from './child.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Starting takes half a second; machines that test have other things to do as well. */
const deadlineMs = 30_000;

/**
 * `child.ts` and all of ours that it imports in one file: sixty children that load two hundred each take a second of
 * the processor every time. Where packages are found from, and replaced whole, for files that do this at once.
 */
function bundleChild(): string {
  const folder = `${root}/node_modules/.cache/ops-loop-test`;
  const draft = `${folder}/child-${process.pid}.mjs`;
  buildSync({
    entryPoints: [fileURLToPath(new URL('./child.ts', import.meta.url))],
    outfile: draft,
    ...{ bundle: true, platform: 'node', format: 'esm', target: 'node20', packages: 'external' },
  });
  renameSync(draft, `${folder}/child.mjs`);
  return `${folder}/child.mjs`;
}

const childFile = bundleChild();

export type Child = ReturnType<typeof startChild>;
export type Exit = { code: number | null; signal: NodeJS.Signals | null };

export function startChild(config: ChildConfig) {
  const child = fork(childFile, [JSON.stringify(config)], { cwd: root, execArgv: [] });
  const arrivals: Gate[] = [];
  const lines: LogLine[] = [];
  let beat: Beat | undefined;
  child.on('message', (message: Message) => {
    if ('at' in message) arrivals.push(message.at);
    else if ('log' in message) lines.push(message.log);
    else beat = message.beat;
  });
  const exit = new Promise<Exit>((resolve) =>
    child.once('exit', (code, signal) => resolve({ code, signal })),
  );
  onTestFinished(() => void child.kill('SIGKILL'));
  return {
    lines,
    exit,
    /** Waits until it stands at its gate, so many times if it runs more than one step. */
    at: (gate: Gate, times = 1) =>
      until(() => arrivals.length >= times, { what: `${config.name} is at '${gate}' ${times}x`, deadlineMs }),
    /** Waits for a line of its log. */
    logged: (event: LogEvent) =>
      until(() => lines.find((line) => line.event === event), {
        what: `${config.name} logs ${event}`,
        deadlineMs,
      }),
    beat: () => until(() => beat, { what: `${config.name} has beaten`, deadlineMs }),
    open: () => child.send('open'),
    send: (signal: NodeJS.Signals) => child.kill(signal),
    kill: async () => {
      child.kill('SIGKILL');
      return exit;
    },
    freeze: async () => {
      child.kill('SIGSTOP');
      await until(() => isStopped(child), { what: `${config.name} is frozen` });
    },
    thaw: () => child.kill('SIGCONT'),
  };
}

/** Where there is no /proc, the signal is taken at its word. */
async function isStopped({ pid }: ChildProcess): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '(node) T');
  return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
}
