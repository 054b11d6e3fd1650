/**
 * A backup while it is written: a file beside its place, under a name that says which process on which machine writes
 * it. So two that write to one place (a slow one, and the next by the clock) do not meet, and what a killed one left is
 * known for what it is.
 */
import { randomUUID } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { isAlive } from '../embedded/server-file.js';

const own = new Set<string>();

/** A name for a part of this process. */
export function partOf(file: string): string {
  const part = `${file}.${process.pid}@${hostname()}.${randomUUID()}.part`;
  own.add(basename(part));
  return part;
}

/**
 * Removes what killed backups to this place have left; answers the names. A part of another machine that shares the
 * directory stays: whether its process lives cannot be told from here. Throws nothing.
 */
export async function dropLeftParts(file: string): Promise<string[]> {
  const names = await readdir(dirname(file)).catch(() => []);
  const left = names.filter((name) => isLeft(name, basename(file)));
  for (const name of left) await rm(join(dirname(file), name), { force: true }).catch(() => {});
  return left;
}

function isLeft(name: string, file: string): boolean {
  if (!name.startsWith(`${file}.`) || own.has(name)) return false;
  const [, pid, host] = /^\.(\d+)@(.+)\.[0-9a-f-]{36}\.part$/.exec(name.slice(file.length)) ?? [];
  if (host !== hostname()) return false;
  // One of our own number that is not ours is of a container before this one: there, pids begin anew.
  return Number(pid) === process.pid || !isAlive(Number(pid));
}
