/**
 * The start lock: held for the seconds a start takes, it keeps two starts from making a cluster at once. That two
 * servers never share a directory is PostgreSQL's own postmaster.pid.
 */
import { StillHeld, takeLock } from '../lock.js';
import { refusal } from './refusal.js';

/** Waits for the lock, at most `waitMs`, and returns its release. Throws `OPS_001`. */
export async function takeStartLock(file: string, waitMs: number): Promise<() => Promise<void>> {
  try {
    return await takeLock(file, { waitMs });
  } catch (cause) {
    if (cause instanceof StillHeld) throw stillHeld(file, cause.holder?.pid);
    throw refusal(
      `cannot write ${file}`,
      'Choose a data directory you may write, or set DATABASE_URL.',
      cause,
    );
  }
}

function stillHeld(file: string, pid: number | undefined): Error {
  const name = pid ?? 'unknown';
  return refusal(
    `another start (process ${name}) is taking very long`,
    `Wait for it or end it. If process ${name} is no start of Ops-Loop, remove ${file}.`,
  );
}
