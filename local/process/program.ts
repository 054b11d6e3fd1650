/** Where a program is: looked up by us, so that what is found is what runs. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';

/**
 * The absolute path of a program: a name looked up on `path` (as in PATH), or an absolute path. Undefined when there
 * is no such executable file. Parts of PATH that are not absolute count as not there: they would name programs in
 * the working directory, which others write to.
 */
export async function findProgram(program: string, path: string): Promise<string | undefined> {
  if (isAbsolute(program)) return (await isExecutable(program)) ? program : undefined;
  if (program === '' || program.includes('/')) return undefined;
  for (const directory of path.split(':').filter(isAbsolute)) {
    const candidate = join(directory, program);
    if (await isExecutable(candidate)) return candidate;
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
