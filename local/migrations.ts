/**
 * Applies `supabase/migrations/*.sql` in order. Each file runs in one transaction under one transaction-level
 * advisory lock, so any number of installers may run at once, also through a transaction-mode pooler: one
 * applies a file, the others wait, then find it present. The files can equally be applied by psql, the Supabase
 * CLI or the SQL editor; only the checksum is this runner's.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, type ClientConfig, DatabaseError } from 'pg';
import { z } from 'zod';
import { fromDatabase, OpsError } from '../supabase/client/errors.js';

/** One file. `checksum` is the SHA-256 of its bytes, in hex. */
export type Migration = { version: string; name: string; file: string; sql: string; checksum: string };

export type MigrationStatus = {
  version: string;
  name: string;
  /** `changed`: the file is not the one that was applied. `unknown`: applied, but not in the folder. */
  status: 'applied' | 'missing' | 'changed' | 'unknown';
  /** False when another tool applied the file: then there is no checksum to compare. */
  checked: boolean;
};

export type MigrateOptions = {
  /** Default `supabase/migrations`. */
  folder?: string;
  /** Runs every file again, also those that are present. */
  force?: boolean;
  /** How long one statement may wait for a table lock. Default 10 s. */
  lockTimeoutMs?: number;
  /** How long one statement may run. Default 5 minutes. */
  statementTimeoutMs?: number;
  /** Called before each file that is run, for a progress line. */
  onFile?: (file: string) => void;
};

type Connection = string | ClientConfig;

const defaultFolder = fileURLToPath(new URL('../supabase/migrations/', import.meta.url));
const defaultSeed = fileURLToPath(new URL('../supabase/seed.sql', import.meta.url));
const fileName = /^(\d+)_(\w+)\.sql$/;

/** The letters `ops_loop` read as one number: a key that no other program is likely to lock. */
const lockKey = Buffer.from('ops_loop').readBigUInt64BE().toString();
/** How long to wait for other installers. */
const turnTimeoutMs = 600_000;

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
  options: Pick<MigrateOptions, 'lockTimeoutMs' | 'statementTimeoutMs'> & { file?: string } = {},
): Promise<void> {
  const file = options.file ?? defaultSeed;
  const sql = await readFile(file, 'utf8').catch(unreadable(file));
  await withClient(connection, (client) => inTurn(client, options, () => runFile(client, 'seed.sql', sql)));
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

function unreadable(path: string): (cause: unknown) => never {
  return (cause) => {
    throw new OpsError('OPS_013', `cannot read ${path}`, {
      hint: 'Install Ops-Loop anew: its files are not complete.',
      cause,
    });
  };
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

/** Runs a file's statements as one message. A file that ends the transaction itself would escape the lock. */
async function runFile(client: Client, file: string, sql: string): Promise<void> {
  const before = await transactionId(client);
  await client.query(sql).catch((cause: unknown) => {
    throw cause instanceof DatabaseError ? failed(file, sql, cause) : fromDatabase(cause);
  });
  if ((await transactionId(client)) !== before)
    throw new OpsError('OPS_013', `the migration ${file} ends its own transaction`, {
      hint: 'Take begin and commit out of the file.',
    });
}

async function transactionId(client: Client): Promise<unknown> {
  const { rows } = await client.query('select pg_catalog.pg_current_xact_id()::text as id');
  return rows[0]?.id;
}

function failed(file: string, sql: string, cause: DatabaseError): OpsError {
  // The position counts characters, not UTF-16 units.
  const before = cause.position === undefined ? undefined : Array.from(sql).slice(0, Number(cause.position));
  const line = before?.filter((character) => character === '\n').length;
  const at = line === undefined ? '' : ` at line ${line + 1}`;
  return new OpsError('OPS_013', `${file} failed${at}: ${cause.message}`, {
    hint:
      cause.hint ??
      hints[cause.code ?? ''] ??
      'The file was rolled back. Mend the cause, then run migrate again.',
    detail: { file, line: line === undefined ? null : line + 1, sqlstate: cause.code, where: cause.where },
    cause,
  });
}

/** By SQLSTATE: lock not available, query cancelled, insufficient privilege. */
const hints: Record<string, string> = {
  '55P03':
    'Another session holds a lock on the table. Stop the workers or end that session, then run migrate again.',
  '57014': 'A statement ran out of time. Run migrate again with a longer statement timeout.',
  '42501': 'Connect as the role that owns the database; worker and API roles cannot migrate.',
};

/** One transaction, begun by waiting for the turn of this installer. Everything set is local to it. */
async function inTurn<T>(
  client: Client,
  { lockTimeoutMs = 10_000, statementTimeoutMs = 300_000 }: MigrateOptions,
  work: () => Promise<T>,
): Promise<T> {
  await client.query('begin');
  try {
    await setLocal(client, {
      client_min_messages: 'warning',
      lock_timeout: '0',
      statement_timeout: turnTimeoutMs,
    });
    await client.query('select pg_catalog.pg_advisory_xact_lock($1)', [lockKey]);
    await setLocal(client, { lock_timeout: lockTimeoutMs, statement_timeout: statementTimeoutMs });
    const result = await work();
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  }
}

async function setLocal(client: Client, settings: Record<string, string | number>): Promise<void> {
  for (const [name, value] of Object.entries(settings))
    await client.query('select pg_catalog.set_config($1, $2, true)', [name, String(value)]);
}

async function withClient<T>(connection: Connection, work: (client: Client) => Promise<T>): Promise<T> {
  const config = typeof connection === 'string' ? { connectionString: connection } : connection;
  const client = new Client({
    application_name: 'ops-loop migrate',
    connectionTimeoutMillis: 10_000,
    ...config,
  });
  // A connection that breaks between two statements is told by the next one.
  client.on('error', () => {});
  try {
    await client.connect();
    return await work(client);
  } catch (error) {
    throw fromDatabase(error);
  } finally {
    await client.end().catch(() => {});
  }
}
