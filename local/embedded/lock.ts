/**
 * The start lock: whoever creates the file holds it, for the seconds a start takes. It keeps two starts from
 * making a cluster at once; that two servers never share a directory is PostgreSQL's own postmaster.pid.
 *
 * The file holds `pid token`. It is stale when that process is gone, or has our pid without being ours (in
 * containers pids repeat). Only who holds the lock `<file>.break` removes a stale file, after reading it once
 * more: two that saw the same dead holder would otherwise remove each other's new lock.
 */
import { randomUUID } from 'node:crypto';
import { link, open, readFile, rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { errorCode, refusal } from './refusal.js';
import { isAlive } from './server-file.js';

const held = new Set<string>();
const retryMs = 5;

/** Waits for the lock, at most `waitMs`, and returns its release. Throws `OPS_001`. */
export async function takeLock(file: string, waitMs: number): Promise<() => Promise<void>> {
  const mark = `${process.pid} ${randomUUID()}`;
  const deadline = performance.now() + waitMs;
  held.add(mark);
  while (!(await create(file, mark))) {
    const other = await readFile(file, 'utf8').catch(() => undefined);
    if (other !== undefined && isStale(other)) await breakLock(file, other, waitMs);
    else if (performance.now() < deadline) await pause(retryMs);
    else throw stillHeld(file, other);
  }
  return async () => {
    await rm(file, { force: true });
    held.delete(mark);
  };
}

async function create(file: string, mark: string): Promise<boolean> {
  const draft = `${file}.${randomUUID()}`;
  try {
    const handle = await open(draft, 'wx', 0o600);
    await handle.writeFile(mark).finally(() => handle.close());
    // A hard link appears with its content: nobody ever reads a lock that is still empty.
    await link(draft, file);
    return true;
  } catch (cause) {
    if (errorCode(cause) === 'EEXIST') return false;
    throw refusal(
      `cannot write ${file}`,
      'Choose a data directory you may write, or set DATABASE_URL.',
      cause,
    );
  } finally {
    await rm(draft, { force: true });
  }
}

function isStale(mark: string): boolean {
  const pid = Number.parseInt(mark, 10);
  return pid === process.pid ? !held.has(mark) : !isAlive(pid);
}

async function breakLock(file: string, stale: string, waitMs: number): Promise<void> {
  const release = await takeLock(`${file}.break`, waitMs);
  const now = await readFile(file, 'utf8').catch(() => undefined);
  if (now === stale) await rm(file, { force: true });
  await release();
}

function stillHeld(file: string, mark: string | undefined): Error {
  const pid = mark === undefined ? 'unknown' : String(Number.parseInt(mark, 10));
  return refusal(
    `another start (process ${pid}) is taking very long`,
    `Wait for it or end it. If process ${pid} is no start of Ops-Loop, remove ${file}.`,
  );
}
