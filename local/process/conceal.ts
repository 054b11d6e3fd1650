/**
 * Takes this process's own environment out of sight. A child of the same user can read the block of memory that a
 * process got its environment in, through /proc/<pid>/environ, also after variables were deleted: deleting moves
 * pointers, it wipes nothing. So each variable is set again, which copies it elsewhere, and the block is overwritten.
 * `process.env` answers as before. What our own parents still have in theirs is not ours to change.
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

let done: boolean | undefined;

/** Does it once per process. False where it cannot be done: no /proc, memory not writable, or not the main thread. */
export function concealEnvironment(): boolean {
  done ??= isMainThread && overwriteBlock();
  return done;
}

function overwriteBlock(): boolean {
  try {
    const [start, end] = blockOf(readFileSync('/proc/self/stat', 'utf8'));
    if (start === 0 || end <= start) return false;
    const memory = openSync('/proc/self/mem', 'r+');
    for (const [name, value] of Object.entries(process.env)) process.env[name] = value;
    writeSync(memory, Buffer.alloc(end - start), 0, end - start, start);
    closeSync(memory);
    return true;
  } catch {
    return false;
  }
}

/** `env_start` and `env_end`: fields 50 and 51 of proc(5), counted from behind the name in brackets. */
function blockOf(stat: string): [start: number, end: number] {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return [Number(fields[50 - 3]), Number(fields[51 - 3])];
}
