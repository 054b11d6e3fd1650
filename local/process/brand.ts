/**
 * The second mark of a run, for what clears its environment: a number in a resource limit that Linux keeps but has
 * not used since 2.4.24, RLIMIT_LOCKS (getrlimit(2)). Every descendant inherits it, and none can raise or remove it.
 * It is set by `prlimit` of util-linux, which then becomes the program. Where that is missing, where the limit is in
 * use, and inside of another worker's run there is no brand, and only marker and descent tell.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { findProgram } from './program.js';
import type { Identity } from './table.js';

/** 1, then 22 bits of process id (Linux gives no more), 24 bits of its start, 16 bits of a count. */
const first = 1n << 62n;
const startMask = (1n << 24n) - 1n;
const countMask = (1n << 16n) - 1n;

/** The brand of a worker's run; no two that run at the same time have the same. */
export const brandFor = ({ pid, start }: Identity, count: number): bigint =>
  first | (BigInt(pid) << 40n) | ((BigInt(start) & startMask) << 16n) | (BigInt(count) & countMask);

/** Who gave it: the process id, and whether a process of that id started when the giver did. */
export function giverOf(brand: bigint): { pid: number; startedAt(start: number): boolean } {
  const pid = Number((brand ^ first) >> 40n);
  return { pid, startedAt: (start) => brandFor({ pid, start }, 0) >> 16n === brand >> 16n };
}

/** The brand of a process; undefined when it has none. Limits can be read of anybody's process. */
export function brandOf(pid: number): bigint | undefined {
  const limit = lockLimitOf(pid);
  return limit !== undefined && /^\d+$/.test(limit) && BigInt(limit) >> 62n === 1n
    ? BigInt(limit)
    : undefined;
}

function lockLimitOf(pid: number): string | undefined {
  try {
    return /^Max file locks +\S+ +(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}

export type Invocation = { file: string; args: readonly string[] };

/** The same program, branded, where this machine can do it. */
export async function branded({ file, args }: Invocation, brand: bigint): Promise<Invocation> {
  const found = await findOnce();
  return found === undefined ? { file, args } : { file: found, args: [limitTo(brand), '--', file, ...args] };
}

/** Does it work on this machine? */
export const canBrand = async (): Promise<boolean> => (await findOnce()) !== undefined;

let brander: Promise<string | undefined> | undefined;
function findOnce(): Promise<string | undefined> {
  brander ??= findBrander();
  return brander;
}

const limitTo = (brand: bigint): string => `--locks=${brand}:${brand}`;

async function findBrander(): Promise<string | undefined> {
  if (lockLimitOf(process.pid) !== 'unlimited') return undefined;
  const path = await findProgram('prlimit', '/usr/bin:/bin:/usr/local/bin');
  if (path === undefined) return undefined;
  // A sandbox may not let it set limits; then it must not stand before every program.
  const tried = spawnSync(path, [limitTo(first), '--', path, '--version'], { env: {}, timeout: 5_000 });
  return tried.status === 0 ? path : undefined;
}
