import { chmod, lstat, mkdir, mkdtemp, readlink, realpath, symlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type Account, closedDirectory, serverAccount } from './account.js';
import { refusal } from './refusal.js';

/** Where one embedded database lives. The files beside the data directory are named after it. */
export type Place = {
  /** The real path, links resolved. */
  dataDir: string;
  stateFile: string;
  lockFile: string;
  logFile: string;
  account: Account | undefined;
};

/** Root's own place for data when the wanted one is below a directory that only root may enter, such as /root. */
const rootsLibrary = '/var/lib/ops-loop';

/** Resolves the data directory and the account it is for; creates its parent. Throws `OPS_001`. */
export async function choosePlace(wanted: string): Promise<Place> {
  const asked = resolve(wanted);
  await makeParent(dirname(asked));
  const given = join(await realpath(dirname(asked)), basename(asked));
  const account = await serverAccount(given);
  return {
    dataDir: await reachable(given, account),
    stateFile: `${given}.json`,
    lockFile: `${given}.lock`,
    logFile: `${given}.log`,
    account,
  };
}

async function makeParent(parent: string): Promise<void> {
  try {
    // Enter, but not list: the server's account passes through, everything inside has its own tight mode.
    if ((await mkdir(parent, { recursive: true })) !== undefined) await chmod(parent, 0o711);
  } catch (cause) {
    throw refusal(
      `cannot create ${parent}`,
      'Choose a data directory you may write, or set DATABASE_URL.',
      cause,
    );
  }
}

async function reachable(given: string, account: Account | undefined): Promise<string> {
  const present = await lstat(given).catch(() => undefined);
  if (present?.isSymbolicLink()) return followLink(given);
  const closed = account === undefined ? undefined : await closedDirectory(dirname(given), account);
  if (closed === undefined) return given;
  if (present === undefined) return linkToLibrary(given);
  throw refusal(
    `the user it runs as cannot enter ${closed}, which is above its data directory`,
    `Open it with chmod o+x ${closed}, choose another data directory, or set DATABASE_URL.`,
  );
}

async function followLink(link: string): Promise<string> {
  const target = resolve(dirname(link), await readlink(link));
  await makeParent(dirname(target));
  return join(await realpath(dirname(target)), basename(target));
}

/** A random name, so that a project set up anew at an old path never finds the old data. */
async function linkToLibrary(given: string): Promise<string> {
  await makeParent(rootsLibrary);
  const room = await mkdtemp(join(rootsLibrary, 'postgres-'));
  await chmod(room, 0o711);
  const target = join(room, 'data');
  await symlink(target, given);
  return target;
}
