/**
 * A lock between processes: whoever creates the file holds it.
 *
 * The file holds `pid token`, and a note of the holder's if it has one. It is stale when that process is gone, or has
 * our pid without being ours (in containers pids repeat). Only who holds the lock `<file>.break` removes a stale
 * file, after reading it once more: two that saw the same dead holder would otherwise remove each other's new lock.
 */
import { randomUUID } from 'node:crypto';
import { link, open, readFile, rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { isAlive } from './embedded/server-file.js';

const held = new Set<string>();
const retryMs = 5;

export type LockOptions = {
  /** How long to wait for the holder; 0 asks once. */
  waitMs: number;
  /** Words to leave in the file, for other holders' `isStale`. */
  note?: string;
  /** May this holder's lock be broken? Default: when its process is gone. */
  isStale?(holder: Holder, file: string): boolean | Promise<boolean>;
};
export type Holder = { pid: number; note: string; mark: string };

/** The lock was not to be had in time. */
export class StillHeld extends Error {
  /** Undefined when its file cannot be read. */
  readonly holder: Holder | undefined;

  constructor(file: string, holder: Holder | undefined) {
    super(`process ${holder?.pid ?? 'unknown'} holds ${file}`);
    this.name = 'StillHeld';
    this.holder = holder;
  }
}

/** Takes the lock and returns its release. Throws `StillHeld`, or the file system's error. */
export async function takeLock(file: string, options: LockOptions): Promise<() => Promise<void>> {
  const { waitMs, note, isStale = isGone } = options;
  const mark = [process.pid, randomUUID(), note].filter((part) => part !== undefined).join(' ');
  const deadline = performance.now() + waitMs;
  held.add(mark);
  try {
    while (!(await create(file, mark))) {
      const other = await readHolder(file);
      if (other !== undefined && (await isStale(other, file))) await breakLock(file, other, options);
      else if (performance.now() < deadline) await pause(retryMs);
      else throw new StillHeld(file, other);
    }
  } catch (error) {
    held.delete(mark);
    throw error;
  }
  return async () => {
    // It may have been taken for gone: then the file is another one's.
    if ((await readHolder(file))?.mark === mark) await rm(file, { force: true });
    held.delete(mark);
  };
}

/** Whether the process that holds a lock is no more. One with our pid that we know nothing of was in another container. */
export const isGone = ({ pid, mark }: Holder): boolean =>
  pid === process.pid ? !held.has(mark) : !isAlive(pid);

async function create(file: string, mark: string): Promise<boolean> {
  const draft = `${file}.${randomUUID()}`;
  try {
    const handle = await open(draft, 'wx', 0o600);
    await handle.writeFile(mark).finally(() => handle.close());
    // A hard link appears with its content: nobody ever reads a lock that is still empty.
    await link(draft, file);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

/** Undefined when the lock was given back meanwhile, or is another user's. */
async function readHolder(file: string): Promise<Holder | undefined> {
  const mark = await readFile(file, 'utf8').catch(() => undefined);
  if (mark === undefined) return undefined;
  const [pid = '', , ...note] = mark.split(' ');
  return { pid: Number.parseInt(pid, 10), note: note.join(' '), mark };
}

async function breakLock(file: string, stale: Holder, options: LockOptions): Promise<void> {
  const release = await takeLock(`${file}.break`, options);
  if ((await readHolder(file))?.mark === stale.mark) await rm(file, { force: true });
  await release();
}
