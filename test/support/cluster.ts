import { chmod, mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded } from '../../local/embedded/embedded.js';
import { isAlive } from '../../local/embedded/server-file.js';

/** Faster and not durable: for throw-away test clusters only. Crash tests start a durable one of their own. */
export const forgetfulSettings: Record<string, string> = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '4GB',
  checkpoint_timeout: '1h',
  max_connections: '200',
  shared_buffers: '128MB',
  log_error_verbosity: 'default',
  log_min_error_statement: 'error',
};

const prefix = 'ops-loop-test-';

/** Starts a cluster in a new temporary directory; `stop` ends it and removes the directory. */
export async function startTestCluster(): Promise<{ url: string; stop(): Promise<void> }> {
  await removeOrphans();
  const home = await temporaryDirectory('cluster');
  const database = await startEmbedded({ dataDir: join(home, 'postgres'), settings: forgetfulSettings });
  return {
    url: database.url,
    stop: async () => {
      await database.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** A new directory that also the server's account may pass through. The pid in its name lets a later run sweep it. */
export async function temporaryDirectory(what: string): Promise<string> {
  const directory = await mkdtemp(join(await realpath(tmpdir()), `${prefix}${process.pid}-${what}-`));
  await chmod(directory, 0o711);
  return directory;
}

/** Runs that were killed leave their directories; the servers in them have ended by themselves. */
async function removeOrphans(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = Number.parseInt(name.slice(prefix.length), 10);
    if (name.startsWith(prefix) && pid > 0 && !isAlive(pid))
      await rm(join(tmpdir(), name), { recursive: true, force: true });
  }
}
