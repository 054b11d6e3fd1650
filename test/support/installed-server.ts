/** A throw-away cluster of a PostgreSQL that the system has, for extensions that the npm packages lack. */
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { appendFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import type { Binaries } from '../../local/embedded/binaries.js';
import { runCommand } from '../../local/embedded/command.js';
import { ensureApiRoles } from '../../local/embedded/database.js';
import { launchServer } from '../../local/embedded/launch.js';
import { choosePlace } from '../../local/embedded/place.js';
import { freePort } from '../../local/embedded/state.js';
import { migrate, seed } from '../../local/migrations.js';
import { forgetfulSettings, temporaryDirectory } from './cluster.js';

type Installed = { bin: string; share: string };
export type InstalledServer = { url: string; stop(): Promise<void> };

/** Where Debian and Ubuntu put them, and the one whose pg_config is on PATH. */
function installed(): Installed[] {
  const debian = '/usr/lib/postgresql';
  const majors = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const found = majors.map((major) => ({
    bin: join(debian, major, 'bin'),
    share: join('/usr/share/postgresql', major),
  }));
  try {
    const ask = (what: string): string => execFileSync('pg_config', [what], { encoding: 'utf8' }).trim();
    return [...found, { bin: ask('--bindir'), share: ask('--sharedir') }];
  } catch {
    return found;
  }
}

/** The newest installed PostgreSQL that has the extension, if there is one. */
export const findInstalled = (extension: string): Installed | undefined =>
  installed().find(
    ({ bin, share }) =>
      existsSync(join(bin, 'initdb')) && existsSync(join(share, 'extension', `${extension}.control`)),
  );

/** Migrated and seeded, in the database `postgres`; the superuser needs no password on loopback. */
export async function startInstalled(
  { bin }: Installed,
  settings: Record<string, string> = {},
): Promise<InstalledServer> {
  const home = await temporaryDirectory('installed');
  const program = (name: string) => join(bin, name);
  const binaries: Binaries = {
    initdb: program('initdb'),
    postgres: program('postgres'),
    pgCtl: program('pg_ctl'),
  };
  const place = await choosePlace(join(home, 'postgres'));
  const { account, dataDir } = place;
  mkdirSync(dataDir);
  if (account !== undefined) chownSync(dataDir, account.uid, account.gid);
  const args = [
    '-D',
    dataDir,
    '-U',
    'postgres',
    '--auth=trust',
    '--encoding=UTF8',
    '--locale=C',
    '--no-sync',
  ];
  const made = await runCommand(binaries.initdb, args, { account });
  if (made.code !== 0) throw new Error(made.output);
  const own = { listen_addresses: '127.0.0.1', unix_socket_directories: '' };
  const lines = Object.entries({ ...forgetfulSettings, ...own, ...settings }).map(
    ([name, value]) => `${name} = '${value}'\n`,
  );
  await appendFile(join(dataDir, 'postgresql.conf'), lines.join(''));
  const port = await freePort();
  const launched = await launchServer({ ...place, binaries, port });
  if (launched.kind !== 'ready') throw new Error(`the server did not start: ${launched.kind}`);
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  await prepare(url);
  return {
    url,
    stop: async () => {
      await launched.server.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

async function prepare(url: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  await ensureApiRoles(client).finally(() => client.end());
  await migrate(url);
  await seed(url);
}
