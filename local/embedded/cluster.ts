import { randomUUID } from 'node:crypto';
import { chown, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Account } from './account.js';
import type { Binaries } from './binaries.js';
import { runCommand } from './command.js';
import type { Place } from './place.js';
import { errorCode, refusal } from './refusal.js';
import { configurationMark, hostRules, renderSettings } from './settings.js';

/** The major version of the programs; a data directory belongs to one. */
const majorVersion = '17';
const otherDirectory = 'Choose another data directory, or set DATABASE_URL.';

/**
 * Makes the data directory if it is absent or was only half made, and writes its configuration. The cluster is
 * made in a sibling and renamed, so that a directory with our configuration is always whole.
 */
export async function prepareCluster(
  place: Place,
  binaries: Binaries,
  settings: Record<string, string>,
): Promise<void> {
  await removeDrafts(place.dataDir);
  if (!(await isWhole(place.dataDir))) await makeCluster(place, binaries, settings);
  await checkOwner(place);
  await writeConfiguration(place.dataDir, place.account, settings);
}

/** Sets the superuser's password in single-user mode: at set-up, and when `postgres.json` was lost. */
export async function setPassword(place: Place, binaries: Binaries, password: string): Promise<void> {
  const { account, dataDir } = place;
  const input = `alter role postgres password '${password}'\n`;
  const result = await runCommand(binaries.postgres, ['--single', '-j', '-D', dataDir, 'postgres'], {
    account,
    input,
  });
  if (result.code !== 0)
    throw refusal(`cannot set its password: ${lastLines(result.output)}`, otherDirectory);
}

/** The end of a program's output, for a message. */
export function lastLines(output: string): string {
  return output.trim().split('\n').slice(-4).join(' | ') || 'it said nothing';
}

async function isWhole(dataDir: string): Promise<boolean> {
  const entries = await readdir(dataDir).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw refusal(`cannot read ${dataDir}`, 'Start as the user that set the database up.', error);
  });
  if (entries === undefined) return false;
  const configuration = await readFile(join(dataDir, 'postgresql.conf'), 'utf8').catch(() => '');
  if (configuration.startsWith(configurationMark)) return checkVersion(dataDir);
  await clearHalfMade(dataDir, entries);
  return false;
}

async function checkVersion(dataDir: string): Promise<true> {
  const version = (await readFile(join(dataDir, 'PG_VERSION'), 'utf8')).trim();
  if (version === majorVersion) return true;
  throw refusal(
    `${dataDir} was written by PostgreSQL ${version}, this is ${majorVersion}`,
    `Move its data with pg_dump of version ${version}. ${otherDirectory}`,
  );
}

/** Removes what an interrupted initdb left. `postmaster.opts` shows that a server once ran: then it is data. */
async function clearHalfMade(dataDir: string, entries: string[]): Promise<void> {
  const isLeftover =
    entries.length === 0 || (entries.includes('PG_VERSION') && !entries.includes('postmaster.opts'));
  if (!isLeftover) throw refusal(`${dataDir} holds files that are not ours`, otherDirectory);
  await rm(dataDir, { recursive: true });
}

async function makeCluster(
  place: Place,
  binaries: Binaries,
  settings: Record<string, string>,
): Promise<void> {
  const { account, dataDir } = place;
  const draft = `${dataDir}.draft-${process.pid}-${randomUUID()}`;
  await mkdir(draft, { mode: 0o700 });
  await giveTo(account, draft);
  try {
    const sync = settings.fsync === 'off' ? ['--no-sync'] : [];
    const result = await runCommand(binaries.initdb, ['-D', draft, ...initdbOptions, ...sync], { account });
    if (result.code !== 0) throw initdbFailed(result.output);
    await writeFile(join(draft, 'pg_hba.conf'), hostRules);
    await writeConfiguration(draft, account, settings);
    await rename(draft, dataDir);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/**
 * The builtin provider's C.UTF-8 (PostgreSQL 17) sorts by code point and knows letters, alike on every system.
 * `trust` is for initdb only: no server runs before `hostRules` replaces it.
 */
const initdbOptions = [
  ['--username=postgres', '--auth=trust', '--encoding=UTF8'],
  ['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'],
].flat();

function initdbFailed(output: string): Error {
  return refusal(
    `initdb failed: ${lastLines(output)}`,
    'On Linux the binaries need glibc (not Alpine); else check space and permissions, or set DATABASE_URL.',
  );
}

/** Drafts of starts that were killed. The start lock is held, so a draft here has no living maker. */
async function removeDrafts(dataDir: string): Promise<void> {
  const parent = dirname(dataDir);
  const drafts = (await readdir(parent)).filter((name) => name.startsWith(`${basename(dataDir)}.draft-`));
  for (const name of drafts) await rm(join(parent, name), { recursive: true, force: true });
}

async function checkOwner({ account, dataDir }: Place): Promise<void> {
  const { uid } = await stat(dataDir);
  if (account !== undefined && uid === 0) await giveTree(account, dataDir);
  else if (account === undefined && process.getuid !== undefined && uid !== process.getuid())
    throw refusal(
      `${dataDir} belongs to the user id ${uid}, you are ${process.getuid()}`,
      `Start as that user or as root. ${otherDirectory}`,
    );
}

async function writeConfiguration(
  dataDir: string,
  account: Account | undefined,
  settings: Record<string, string>,
): Promise<void> {
  const file = join(dataDir, 'postgresql.conf');
  const draft = `${file}.new`;
  await rm(draft, { force: true });
  // `wx`: as root we write into a directory of another user, where a planted link must not be followed.
  await writeFile(draft, renderSettings(settings), { mode: 0o600, flag: 'wx' });
  await giveTo(account, draft);
  await rename(draft, file);
}

async function giveTree(account: Account, path: string): Promise<void> {
  for (const name of await readdir(path, { recursive: true })) await giveTo(account, join(path, name));
  await giveTo(account, path);
}

async function giveTo(account: Account | undefined, path: string): Promise<void> {
  if (account !== undefined) await chown(path, account.uid, account.gid);
}
