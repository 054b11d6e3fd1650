/** Keeps paths inside a root, as the file system sees them: every symbolic link followed. */
import { realpath } from 'node:fs/promises';
import { relative, resolve, sep } from 'node:path';
import { StepError } from '../executors/contract.js';

/**
 * The real path of `path`, taken from `root` when it is relative. It must exist, and be `root` or inside it after all
 * links are followed; otherwise throws a permanent `StepError` of class `Confinement`. Use the answer, not the path
 * that was asked for: a link that is swapped later is then not followed again.
 */
export async function confine(root: string, path: string): Promise<string> {
  const realRoot = await real(root, root);
  const found = await real(resolve(realRoot, path), path);
  if (isInside(realRoot, found)) return found;
  throw refused(path, 'leads out of the workspace');
}

/** Is `path` the root or below it? Both are real paths. */
export function isInside(root: string, path: string): boolean {
  const way = relative(root, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && resolve(root, way) === path;
}

async function real(path: string, asked: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw refused(asked, code === 'ENOENT' ? 'does not exist' : `cannot be read (${code ?? 'invalid'})`);
  }
}

const refused = (path: string, why: string): StepError =>
  new StepError(`the path ${JSON.stringify(path)} ${why}`, {
    outcome: 'permanent',
    errorClass: 'Confinement',
    hint: 'Name an existing path inside the workspace (worker_policy.workspace_root).',
  });
