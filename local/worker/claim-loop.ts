import type { Parts } from './parts.js';

/**
 * Looks for work while the worker runs. With `once` it ends when nothing runs, nothing is unwritten, and a look
 * that began in that state found nothing: then also nothing can have become ready behind its back.
 */
export async function claimLoop(parts: Parts, once: boolean): Promise<'stopped' | 'drained'> {
  const { claimer, wakeup, lifecycle } = parts;
  while (lifecycle.state === 'running') {
    const wasQuiet = isQuiet(parts);
    const look = await claimer.tick();
    if (once && wasQuiet && look.kind === 'empty' && isQuiet(parts)) return 'drained';
    await wakeup.after(look);
  }
  return 'stopped';
}

const isQuiet = ({ runner, completer }: Parts): boolean =>
  runner.running.size === 0 && completer.unwritten === 0;
