/**
 * Applies `supabase/migrations/*.sql` in order. Each file runs in one transaction under one transaction-level
 * advisory lock, so any number of installers may run at once, also through a transaction-mode pooler: one
 * applies a file, the others wait, then find it present. The files can equally be applied by psql, the Supabase
 * CLI or the SQL editor; only the checksum is this runner's.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Client } from 'pg';
import { z } from 'zod';
import { listMigrations, type Migration, unreadable } from './migrations/files.js';
import { runFile } from './migrations/run-file.js';
import { type Connection, inTurn, type TurnOptions, withClient } from './migrations/turn.js';

export { listMigrations };

export type MigrationStatus = {
  version: string;
  name: string;
  /** `changed`: the file is not the one that was applied. `unknown`: applied, but not in the folder. */
  status: 'applied' | 'missing' | 'changed' | 'unknown';
  /** False when another tool applied the file: then there is no checksum to compare. */
  checked: boolean;
};

export type MigrateOptions = TurnOptions & {
  /** Default `supabase/migrations`. */
  folder?: string;
  /** Runs every file again, also those that are present. */
  force?: boolean;
  /** Called before each file that is run, for a progress line. */
  onFile?: (file: string) => void;
};

const defaultSeed = fileURLToPath(new URL('../supabase/seed.sql', import.meta.url));

const rowSchema = z.object({ version: z.string(), name: z.string(), checksum: z.string().nullable() });
type Row = z.infer<typeof rowSchema>;

/**
 * Applies what is missing and re-asserts the grants; a second call changes nothing. `applied` and `present` are
 * file names. Throws `OPS_013` naming file, line and hint (that file is rolled back, those before it stay), or
 * `OPS_001` when the database is away.
 */
export async function migrate(
  connection: Connection,
  options: MigrateOptions = {},
): Promise<{ applied: string[]; present: string[] }> {
  const migrations = await listMigrations(options.folder);
  return withClient(connection, async (client) => {
    const applied: string[] = [];
    const present: string[] = [];
    for (const migration of migrations)
      ((await applyOne(client, migration, options)) ? applied : present).push(migration.file);
    await inTurn(client, options, () => assertGrants(client));
    return { applied, present };
  });
}

/** Holds folder and database against each other, in order of version; changes nothing. */
export async function verifyMigrations(
  connection: Connection,
  options: { folder?: string } = {},
): Promise<MigrationStatus[]> {
  const migrations = await listMigrations(options.folder);
  const rows = await withClient(connection, readRows);
  const unknown = rows.filter(({ version }) => !migrations.some((file) => file.version === version));
  return [
    ...migrations.map((migration) => compare(migration, rows)),
    ...unknown.map(({ version, name }) => ({ version, name, status: 'unknown' as const, checked: false })),
  ].sort((a, b) => (a.version < b.version ? -1 : 1));
}

/** Runs `supabase/seed.sql`, which leaves present rows alone. Throws like `migrate`. */
export async function seed(
  connection: Connection,
  options: TurnOptions & { file?: string } = {},
): Promise<void> {
  const file = options.file ?? defaultSeed;
  const sql = await readFile(file, 'utf8').catch(unreadable(file));
  await withClient(connection, (client) => inTurn(client, options, () => runFile(client, 'seed.sql', sql)));
}

function compare({ version, name, checksum }: Migration, rows: Row[]): MigrationStatus {
  const row = rows.find((candidate) => candidate.version === version);
  if (row === undefined) return { version, name, status: 'missing', checked: false };
  if (row.checksum === null) return { version, name, status: 'applied', checked: false };
  return { version, name, status: row.checksum === checksum ? 'applied' : 'changed', checked: true };
}

/** True if the file was run. */
function applyOne(client: Client, migration: Migration, options: MigrateOptions): Promise<boolean> {
  return inTurn(client, options, async () => {
    const rows = await readRows(client);
    if (options.force !== true && rows.some(({ version }) => version === migration.version)) return false;
    options.onFile?.(migration.file);
    await runFile(client, migration.file, migration.sql);
    await record(client, migration);
    return true;
  });
}

/** Empty when the table is not there yet: the first migration creates it. */
async function readRows(client: Client): Promise<Row[]> {
  const { rows } = await client.query("select to_regclass('public.ops_migrations') is not null as present");
  if (!rows[0]?.present) return [];
  const result = await client.query('select version, name, checksum from public.ops_migrations');
  return z.array(rowSchema).parse(result.rows);
}

/** Each file inserts its own row; the checksum, which it cannot know, is added here. */
async function record(client: Client, { version, name, checksum }: Migration): Promise<void> {
  await client.query(
    `create table if not exists public.ops_migrations
       (version text primary key, name text not null, checksum text,
        applied_at timestamptz not null default clock_timestamp())`,
  );
  await client.query(
    `insert into public.ops_migrations as m (version, name, checksum) values ($1, $2, $3)
     on conflict (version) do update set checksum = excluded.checksum
     where m.checksum is distinct from excluded.checksum`,
    [version, name, checksum],
  );
}

async function assertGrants(client: Client): Promise<void> {
  const { rows } = await client.query(
    "select to_regprocedure('public.ops_assert_grants()') is not null as present",
  );
  if (rows[0]?.present) await client.query('select public.ops_assert_grants()');
}
