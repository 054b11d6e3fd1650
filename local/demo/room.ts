/** The demo's own directory: new for every run, gone after it; what a killed run left is swept by the next. */
import { readdir, realpath, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isAlive } from '../embedded/server-file.js';

export type Room = { directory: string; dataDir: string; remove(): Promise<void> };

/** Below `dataRoot`; named after this process, so that two demos never meet. */
export async function takeRoom(dataRoot: string): Promise<Room> {
  const demos = join(dataRoot, 'demo');
  await sweep(demos);
  const directory = join(demos, String(process.pid));
  await removeRoom(directory);
  return { directory, dataDir: join(directory, 'postgres'), remove: () => removeRoom(directory) };
}

async function sweep(demos: string): Promise<void> {
  for (const name of await readdir(demos).catch(() => [])) {
    const pid = Number(name);
    if (pid > 0 && !isAlive(pid)) await removeRoom(join(demos, name));
  }
}

/** The data directory may be a link to a place that the server's account can reach. */
async function removeRoom(directory: string): Promise<void> {
  const link = join(directory, 'postgres');
  const data = await realpath(link).catch(() => link);
  await rm(data, { recursive: true, force: true });
  if (data !== link) await rmdir(dirname(data)).catch(() => {});
  await rm(directory, { recursive: true, force: true });
}
