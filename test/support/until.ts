import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';

/** Looks this often at once, then at `pollMs`: most conditions hold after a turn or two of the event loop. */
const eagerLooks = 20;
const pollMs = 5;

/**
 * Waits until the condition gives something truthy, and returns it. Past the deadline (default 30 s) it throws an
 * error that names what it waited for. The only timer of the tests.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  { what, deadlineMs = 30_000 }: { what: string; deadlineMs?: number },
): Promise<Exclude<T, false | null | undefined | 0 | ''>> {
  const ended = new AbortController();
  const late = pause(deadlineMs, undefined, { signal: ended.signal }).then(() => {
    throw new Error(`waited ${deadlineMs} ms in vain: ${what}`);
  });
  late.catch(() => {});
  try {
    for (let looks = 0; ; looks++) {
      const value = await Promise.race([condition(), late]);
      if (value) return value as Exclude<T, false | null | undefined | 0 | ''>;
      await Promise.race([looks < eagerLooks ? nextTurn() : pause(pollMs), late]);
    }
  } finally {
    ended.abort();
  }
}
