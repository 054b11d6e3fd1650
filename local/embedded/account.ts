import { stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import { refusal } from './refusal.js';

/** An operating-system user that PostgreSQL runs as when we are root. */
export type Account = { uid: number; gid: number };

/** `nobody`: 65534 on Linux, -2 on macOS. PostgreSQL refuses to run as root, and needs a passwd entry. */
const nobody: Account = process.platform === 'darwin' ? { uid: -2, gid: -2 } : { uid: 65_534, gid: 65_534 };

/**
 * The account to switch to, or undefined to stay who we are. As root it is the owner of an existing data
 * directory, so that a start under sudo does not take it from its user; else `nobody`.
 */
export async function serverAccount(dataDir: string): Promise<Account | undefined> {
  if (process.getuid === undefined) return undefined;
  if (process.getuid() !== 0) {
    requirePasswdEntry(process.getuid());
    return undefined;
  }
  const owner = await stat(dataDir).catch(() => undefined);
  return owner === undefined || owner.uid === 0 ? nobody : { uid: owner.uid, gid: owner.gid };
}

function requirePasswdEntry(uid: number): void {
  try {
    userInfo();
  } catch (cause) {
    throw refusal(
      `the user id ${uid} has no entry in the passwd database, and PostgreSQL will not run without one`,
      `Run as a named user or as root, add an entry for ${uid} to /etc/passwd, or set DATABASE_URL.`,
      cause,
    );
  }
}

/** The nearest directory at or above `path` that the account may not enter, or undefined if all are open. */
export async function closedDirectory(path: string, account: Account): Promise<string | undefined> {
  const { uid, gid, mode } = await stat(path);
  const search = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
  if ((mode & search) === 0) return path;
  const parent = dirname(path);
  return parent === path ? undefined : closedDirectory(parent, account);
}
