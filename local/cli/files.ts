/**
 * Files that whoever calls a command names. Every such path goes through `pathOf`: npm runs scripts in the project's
 * root, and the caller means the directory they typed it in.
 */
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { callingDirectory } from '../env.js';
import { usageError } from './context.js';

export const pathOf = (given: string): string => resolve(callingDirectory(), given);

/** Throws a usage error that names the file. */
export async function readText(given: string): Promise<string> {
  return readFile(pathOf(given), 'utf8').catch(() => {
    throw usageError(
      `cannot read the file ${given}`,
      'Check the path; it is relative to the directory you are in.',
    );
  });
}

/** Writes a file, over one that is there. Throws a usage error that names it. */
export async function writeText(given: string, text: string): Promise<void> {
  await writeFile(pathOf(given), text).catch((cause: unknown) => {
    throw unwritable(given, cause);
  });
}

/** Fails at once where `writeText` would fail later; what is there stays as it is. Throws a usage error. */
export async function requireWritable(given: string): Promise<void> {
  await writeFile(pathOf(given), '', { flag: 'a' }).catch((cause: unknown) => {
    throw unwritable(given, cause);
  });
}

/** Makes a directory with those above it, if they are missing. Throws a usage error that names it. */
export async function makeDirectory(given: string): Promise<void> {
  await makePath(pathOf(given)).catch((cause: unknown) => {
    throw unwritable(given, cause);
  });
}

/** One by one: `recursive: true` of Node 20 never ends below /proc, where every name is missing and none can be made. */
async function makePath(path: string): Promise<void> {
  if (await isDirectory(path)) return;
  if (dirname(path) !== path) await makePath(dirname(path));
  await mkdir(path).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST' || !(await isDirectory(path))) throw error;
  });
}

export const isDirectory = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

const reasons: Record<string, string> = {
  EACCES: 'you may not write there',
  EPERM: 'you may not write there',
  EROFS: 'nothing can be written there',
  ENOENT: 'nothing can be made there',
  ENOTDIR: 'what is above it is no directory',
  EEXIST: 'what has that name is no directory',
  EISDIR: 'it is a directory',
  ENOSPC: 'there is no room left',
  EDQUOT: 'there is no room left',
};

function unwritable(given: string, cause: unknown) {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const why = reasons[code] ?? (code === '' ? 'it failed' : code);
  return usageError(
    `cannot write ${given}: ${why}`,
    'Name a place that may be written to and has room; the path is relative to the directory you are in.',
  );
}
