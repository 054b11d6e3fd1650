/**
 * A disk that can be filled: a tmpfs of its own for the database of a drill, in a mount namespace that only the
 * drill's processes see. It goes with the last of them, however they end.
 *
 * `runDiskDrill` starts the drill anew inside of such a namespace, as a process of its own.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const main = fileURLToPath(new URL('./main.ts', import.meta.url));
const unshare = ['--mount', '--propagation', 'private'];

/** Room for a cluster, its log up to `max_wal_size`, and what a drill of minutes stores. */
const sizeMiB = 768;

export type SmallDisk = {
  directory: string;
  /** Takes every byte that is left; a second call takes what has become free since. */
  fill(): Promise<void>;
  /** Gives them back. */
  free(): Promise<void>;
  unmount(): Promise<void>;
};

/** Why no disk can be mounted here, or undefined. */
export function whyNoSmallDisk(): string | undefined {
  if (process.platform !== 'linux') return 'mount namespaces are a thing of Linux';
  if (process.getuid?.() !== 0) return 'mounting a small disk needs root';
  try {
    execFileSync('unshare', [...unshare, 'mount', '-t', 'tmpfs', '-o', 'size=1m', 'ops-drill', '/mnt'], {
      stdio: 'pipe',
    });
    return undefined;
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: unknown };
    return code === 'ENOENT' ? 'unshare (util-linux) is not installed' : `mount: ${String(stderr).trim()}`;
  }
}

/** Mounts it below `home`. */
export async function mountSmallDisk(home: string): Promise<SmallDisk> {
  const directory = join(home, 'disk');
  const ballast = join(directory, 'ballast');
  await mkdir(directory);
  await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m,mode=0755`, 'ops-drill', directory]);
  return {
    directory,
    fill: () => fillUp(ballast),
    free: () => rm(ballast, { force: true }),
    unmount: async () => void (await run('umount', [directory])),
  };
}

/** Appends until there is no room for a page: large pieces first, then smaller ones. */
async function fillUp(file: string): Promise<void> {
  const handle = await open(file, 'a');
  try {
    for (const bytes of [2 ** 20, 2 ** 16, 2 ** 12]) await appendUntilFull(handle, Buffer.alloc(bytes, 1));
  } finally {
    await handle.close();
  }
}

async function appendUntilFull(handle: Awaited<ReturnType<typeof open>>, piece: Buffer): Promise<void> {
  try {
    for (;;) if ((await handle.write(piece)).bytesWritten < piece.length) return;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}

export type DiskDrill = { seed: number; minutes: number; json: boolean; faults?: readonly string[] };

/** With the faults that strike beside it: what else may befall a server whose disk is full. */
const withOthers = ['disk-full', 'server-kill', 'backend-terminate', 'worker-kill', 'beats'];

/** Runs the drill on a small disk. Answers its exit code and, with `json`, what it printed. */
export async function runDiskDrill({
  seed,
  minutes,
  json,
  faults = withOthers,
}: DiskDrill): Promise<{ code: number; answer: string }> {
  const options = ['--small-disk', '--faults', faults.join(','), ...(json ? ['--json'] : [])];
  const drill = ['--import', 'tsx', main, ...options, '--seed', String(seed), '--minutes', String(minutes)];
  const child = spawn('unshare', [...unshare, process.execPath, ...drill], {
    stdio: ['ignore', json ? 'pipe' : 'inherit', 'inherit'],
  });
  const [answer, [code]] = await Promise.all([
    child.stdout === null ? '' : text(child.stdout),
    once(child, 'close') as Promise<[number | null]>,
  ]);
  return { code: code ?? 1, answer };
}
