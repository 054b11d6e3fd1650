import { randomBytes, randomInt } from 'node:crypto';
import { chown, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { z } from 'zod';
import { errorCode, refusal } from './refusal.js';

const stateSchema = z.object({ port: z.int().min(1).max(65_535), password: z.string().min(1) });

/** What outlives the server, in `postgres.json` beside the data directory, readable by its owner alone. */
export type ClusterState = z.infer<typeof stateSchema>;

/** The state, or undefined when the file is absent or damaged: a new password is then set at the next start. */
export async function readState(file: string): Promise<ClusterState | undefined> {
  try {
    return stateSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (cause) {
    if (errorCode(cause) === 'EACCES')
      throw refusal(`${file} belongs to another user`, 'Start as the user that set the database up.', cause);
    return undefined;
  }
}

/** Replaces the state in one step, so that a reader never sees half of it. */
export async function writeState(file: string, state: ClusterState): Promise<void> {
  const draft = `${file}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
  const previous = await stat(file).catch(() => undefined);
  // A start under sudo leaves the file to the user who set the database up.
  if (process.getuid?.() === 0 && previous !== undefined) await chown(draft, previous.uid, previous.gid);
  await rename(draft, file);
}

/** 192 random bits that need no escaping in a URL. */
export function newPassword(): string {
  return randomBytes(24).toString('base64url');
}

/** A free loopback port below the range that systems hand out for outgoing connections (Linux: from 32768). */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = randomInt(15_432, 32_000);
    if (await isPortFree(port)) return port;
  }
  throw refusal('found no free port between 15432 and 32000', 'Close some listeners, or set DATABASE_URL.');
}

export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}
