/**
 * One writing wreckit per repository. Two of them would take over each other's batch and check out branches under
 * each other's feet, so the lock lies in the repository itself, where every worker that can write to it meets it: in
 * the git directory, because wreckit commits whatever lies in the work tree.
 *
 * The holder touches it as long as it lives. On the same machine a holder is gone when its process is; what it may have
 * left running is ended first. In another container or on another machine sharing the files, its process cannot be
 * seen, and it is taken for gone when it has not touched the lock for a minute.
 */
import { stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type Holder, isGone, StillHeld, takeLock } from '../../lock.js';
import { newMarker } from '../../process/marker.js';
import { sweepStrays } from '../../process/strays.js';
import { readEntry } from '../../process/table.js';
import { StepError } from '../contract.js';
import type { Repository } from './repository.js';

const touchMs = 10_000;
/** Six touches missed. */
const silentMs = 60_000;
/** A run takes minutes to hours; asking again costs one claim. */
const retryAfterSeconds = 30;

/** Runs `work` alone. Throws a `StepError` with outcome `rate_limited` when another process has the repository. */
export async function withRepository<T>(repository: Repository, work: () => Promise<T>): Promise<T> {
  const file = lockFile(repository);
  const release = await takeLock(file, { waitMs: 0, note: ownPlace(), isStale }).catch((error: unknown) => {
    throw error instanceof StillHeld ? busy(error.holder) : error;
  });
  // Touching may fail when somebody removed the file; the work goes on, and only others on this machine see it.
  const touching = setInterval(() => void touch(file).catch(() => {}), touchMs);
  try {
    return await work();
  } finally {
    clearInterval(touching);
    await release();
  }
}

const lockFile = ({ gitDirectory }: Repository): string => join(gitDirectory, 'ops-loop-wreckit.lock');

const touch = (file: string): Promise<void> => utimes(file, new Date(), new Date());

/** `<start> <place>`: when this process started, and where its id means something. */
function ownPlace(): string {
  const { worker, namespace } = newMarker();
  return `${worker.start} ${namespace}@${hostname().replaceAll(' ', '-')}`;
}

async function isStale(holder: Holder, file: string): Promise<boolean> {
  const [start, place] = holder.note.split(' ');
  const [, here] = ownPlace().split(' ');
  if (place !== here) return isSilent(file);
  const entry = readEntry(holder.pid);
  const isThere = entry !== undefined && String(entry.start) === start && !entry.ended;
  if (isThere && !isGone(holder)) return false;
  await sweepStrays();
  return true;
}

async function isSilent(file: string): Promise<boolean> {
  const touched = await stat(file).catch(() => undefined);
  return touched !== undefined && Date.now() - touched.mtimeMs > silentMs;
}

const busy = (holder: Holder | undefined): StepError =>
  new StepError(`the repository is in use by another wreckit step (process ${holder?.pid ?? 'unknown'})`, {
    outcome: 'rate_limited',
    errorClass: 'RepositoryBusy',
    retryAfterSeconds,
    hint: 'It is tried again by itself once the other one has ended.',
  });
