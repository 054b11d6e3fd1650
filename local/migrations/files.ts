/** The migration files: their names, their order and their checksums. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OpsError } from '../../supabase/client/errors.js';

/** One file. `checksum` is the SHA-256 of its bytes, in hex. */
export type Migration = { version: string; name: string; file: string; sql: string; checksum: string };

const defaultFolder = fileURLToPath(new URL('../../supabase/migrations/', import.meta.url));
const fileName = /^(\d+)_(\w+)\.sql$/;

/** The files of a folder, by version. Throws `OPS_013` for a name out of pattern or a version given twice. */
export async function listMigrations(folder = defaultFolder): Promise<Migration[]> {
  const files = (await readdir(folder).catch(unreadable(folder)))
    .filter((file) => file.endsWith('.sql'))
    .sort();
  const migrations = await Promise.all(files.map((file) => readMigration(folder, file)));
  for (const [index, { version, file }] of migrations.entries())
    if (migrations[index - 1]?.version === version)
      throw misnamed(file, `has the version ${version} of another file`);
  return migrations;
}

async function readMigration(folder: string, file: string): Promise<Migration> {
  const [, version, name] = fileName.exec(file) ?? [];
  if (version === undefined || name === undefined) throw misnamed(file, 'is not named <number>_<name>.sql');
  const bytes = await readFile(join(folder, file));
  const checksum = createHash('sha256').update(bytes).digest('hex');
  return { version, name, file, sql: bytes.toString('utf8'), checksum };
}

function misnamed(file: string, what: string): OpsError {
  return new OpsError('OPS_013', `the migration ${file} ${what}`, { hint: 'Rename the file.' });
}

/** For `catch`: throws `OPS_013` naming what could not be read. */
export function unreadable(path: string): (cause: unknown) => never {
  return (cause) => {
    throw new OpsError('OPS_013', `cannot read ${path}`, {
      hint: 'Install Ops-Loop anew: its files are not complete.',
      cause,
    });
  };
}
