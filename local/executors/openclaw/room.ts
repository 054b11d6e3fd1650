/** A directory of one run's own for what openclaw has to read from a file. Nobody else can look into it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type Room = {
  directory: string;
  /** Answers the file's path. Readable by this user alone. */
  put(name: string, text: string): Promise<string>;
};

/** Removes it again, however `work` ends. */
export async function withRoom<T>(work: (room: Room) => Promise<T>): Promise<T> {
  // Made with mode 0700 (mkdtemp(3)).
  const directory = await mkdtemp(join(tmpdir(), 'ops-openclaw-'));
  const put: Room['put'] = async (name, text) => {
    const path = join(directory, name);
    await writeFile(path, text, { mode: 0o600, flag: 'wx' });
    return path;
  };
  try {
    return await work({ directory, put });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
