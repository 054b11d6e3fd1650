/** What ends a run: the program itself, or one of the bounds it was given. */
import type { Command, Finished } from './run.js';
import type { Started } from './start.js';

/** Node's timers end at 2^31 ms; a longer one would fire at once. */
const maxTimerMs = 2 ** 31 - 1;

/** What comes first. Leaves no timer and no listener on the signal. */
export async function firstEnding(
  { signal, timeoutMs, idleMs }: Pick<Command, 'signal' | 'timeoutMs' | 'idleMs'>,
  { exited, stdout, stderr }: Pick<Started, 'exited' | 'stdout' | 'stderr'>,
): Promise<Finished['ending']> {
  const timers: NodeJS.Timeout[] = [];
  const done = new AbortController();
  const first = new Promise<Finished['ending']>((resolve, reject) => {
    const after = (ms: number | undefined, ending: Finished['ending']) => {
      if (ms === undefined) return undefined;
      const timer = setTimeout(() => resolve(ending), Math.min(ms, maxTimerMs));
      timers.push(timer);
      return timer;
    };
    after(timeoutMs, 'timed_out');
    const idle = after(idleMs, 'idle');
    for (const output of [stdout, stderr]) output.on('data', () => idle?.refresh());
    signal.addEventListener('abort', () => resolve('aborted'), { once: true, signal: done.signal });
    if (signal.aborted) resolve('aborted');
    exited.then(() => resolve('exited'), reject);
  });
  return first.finally(() => {
    done.abort();
    timers.forEach(clearTimeout);
  });
}
