/**
 * Puts a backup into a database that has the schema and no work yet: one transaction, all or nothing. The rows go in as
 * they were, so the triggers that check and record what people write are off for it; the owner may do that, superuser or
 * not, and no row of the history is changed by it. Row-level security is not forced meanwhile, because COPY does not write
 * under it. Both are as before when the transaction ends, and until then nobody else sees the tables.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import type { Client, ClientConfig } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { OpsError, wasRolledBack } from '../../supabase/client/errors.js';
import { inTransaction, requireOwner } from './connection.js';
import {
  type BackupReader,
  End,
  formatName,
  Header,
  readBackup,
  TableEnd,
  TableHead,
  unreadable,
} from './format.js';
import { columnList, installed, listTables, settle, type Table } from './tables.js';
import { lineEnds } from './write.js';

export type Restored = Pick<Header, 'schema' | 'taken_at'> & { rows: number; tables: Record<string, number> };
export type RestoreOptions = {
  config: ClientConfig;
  file: string;
  /** Bytes of the file read so far. */
  onBytes?: (done: number) => void;
};

/**
 * Throws `OPS_011` for a file that cannot be read, `OPS_013` for another schema, `OPS_015` for a database that has work in
 * it, `OPS_014` for a role that does not own it. Whatever it throws, nothing was changed.
 */
export async function restoreBackup({ config, file, onBytes = () => {} }: RestoreOptions): Promise<Restored> {
  return reading(file, onBytes, (reader, header) =>
    inTransaction(config, 'begin', (client) => restoreInto(client, reader, header)),
  );
}

/** Opens the file, reads what it says of itself, and closes it after the work. */
async function reading<T>(
  file: string,
  onBytes: NonNullable<RestoreOptions['onBytes']>,
  work: (reader: BackupReader, header: Header) => Promise<T>,
): Promise<T> {
  const source = createReadStream(file);
  const unzipped = createGunzip();
  // Whoever reads the lines is told as well.
  pipeline(source, unzipped).catch(() => {});
  async function* watched(): AsyncGenerator<Buffer> {
    for await (const piece of unzipped) {
      onBytes(source.bytesRead);
      yield piece;
    }
  }
  try {
    const reader = readBackup(watched());
    const header = await reader.json(Header);
    if (header.format !== formatName) throw unreadable(`its format is ${header.format}`);
    return await work(reader, header);
  } finally {
    source.destroy();
    unzipped.destroy();
  }
}

/**
 * Looks before anything is made or locked: throws `OPS_011` for a file that is no backup, `OPS_013` for one of another
 * schema than the one that will be made (if one will), `OPS_015` for a database that has work in it, `OPS_014` for a role
 * that could not see it. One without our schema has none.
 */
export async function requireRestorable({
  config,
  file,
  making,
}: RestoreOptions & { making?: string }): Promise<void> {
  await reading(
    file,
    () => {},
    async (_, header) => {
      if (making !== undefined && header.schema !== making)
        throw otherSchema(header.schema, `this release makes ${making}`);
    },
  );
  await inTransaction(config, 'begin read only', async (client) => {
    const tables = await listTables(client);
    requireOwner(tables);
    if (tables.length > 0) await requireEmpty(client, tables);
  });
}

async function restoreInto(client: Client, reader: BackupReader, header: Header): Promise<Restored> {
  await settle(client);
  await requireSchema(client, header.schema);
  const tables = await listTables(client);
  requireOwner(tables);
  await lockEmpty(client, tables);
  const counts: Record<string, number> = {};
  let rows = 0;
  for (let n = 0; n < header.tables; n++) {
    const head = await reader.json(TableHead);
    const count = await restoreTable(client, reader, head, tables);
    counts[head.table] = count;
    rows += count;
  }
  const end = await reader.json(End);
  if (end.rows !== rows) throw unreadable(`it says ${end.rows} rows and has ${rows}`);
  return { schema: header.schema, taken_at: header.taken_at, rows, tables: counts };
}

async function requireSchema(client: Client, wanted: string): Promise<void> {
  const { rows: known } = await client.query(
    "select pg_catalog.to_regprocedure('public.ops_schema_version()') is not null as there",
  );
  if (known[0]?.there !== true)
    throw new OpsError('OPS_013', 'the database has no schema of Ops-Loop', {
      hint: 'Add --into-empty, which creates it.',
    });
  const { rows } = await client.query('select public.ops_schema_version() as version');
  const found: string | null = rows[0]?.version ?? null;
  if (found !== wanted) throw otherSchema(wanted, `the database has ${found}`);
}

const otherSchema = (wanted: string, instead: string): OpsError =>
  new OpsError('OPS_013', `the backup is of schema ${wanted}, ${instead}`, {
    hint: 'Restore it with the release of Ops-Loop that it was taken with, then run `ops-loop migrate` with this one.',
  });

/** Nobody writes from here on. A database that works is refused before it is made to wait for our locks. */
async function lockEmpty(client: Client, tables: readonly Table[]): Promise<void> {
  await requireEmpty(client, tables);
  const names = tables.map(({ quoted }) => quoted).join(', ');
  await client.query(`lock table ${names} in access exclusive mode`).catch(busy);
  await requireEmpty(client, tables);
}

/** A deadlock with somebody's work, or the end of our patience with it. */
function busy(cause: unknown): never {
  if (!wasRolledBack(cause)) throw cause;
  throw new OpsError('OPS_015', 'somebody works in the database', {
    hint: 'Nothing was changed. Stop what beats and works there, then try again.',
    cause,
  });
}

/** What is there already would be mixed with what comes. */
async function requireEmpty(client: Client, tables: readonly Table[]): Promise<void> {
  const filled: string[] = [];
  for (const { name, quoted } of tables.filter((table) => !installed.has(table.name))) {
    const { rows } = await client.query(`select exists (select from ${quoted}) as filled`);
    if (rows[0]?.filled) filled.push(name);
  }
  const { rows } = await client.query(
    'select exists (select from public.ops_policy_history where version > 1) as edited',
  );
  if (rows[0]?.edited) filled.push('ops_policy');
  if (filled.length === 0) return;
  throw new OpsError('OPS_015', `the database is not empty: there are rows in ${filled.join(', ')}`, {
    hint: 'Restore into a new database: create it, point DATABASE_URL at it, and add --into-empty. Stop what beats there.',
    detail: { tables: filled },
  });
}

async function restoreTable(
  client: Client,
  reader: BackupReader,
  head: TableHead,
  tables: readonly Table[],
): Promise<number> {
  const { quoted, columns } = placeOf(head, tables);
  await client.query(`alter table ${quoted} disable trigger user`);
  await client.query(`alter table ${quoted} no force row level security`);
  if (installed.has(head.table)) await client.query(`delete from ${quoted}`);
  const hash = createHash('sha256');
  let rows = 0;
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const piece of reader.rows()) {
      hash.update(piece);
      rows += lineEnds(piece);
      yield piece;
    }
  }
  const copy = client.query(copyFrom(`copy ${quoted} (${columns}) from stdin`));
  await pipeline(Readable.from(counted(), { objectMode: false }), copy);
  const end = await reader.json(TableEnd);
  if (end.rows !== rows || end.sha256 !== hash.digest('hex'))
    throw unreadable(`the rows of ${head.table} are not those that were written`);
  await client.query(`alter table ${quoted} force row level security`);
  await client.query(`alter table ${quoted} enable trigger user`);
  return rows;
}

/** Names of the file are looked up here; only the catalog's own become part of a statement. */
function placeOf({ table: name, columns }: TableHead, tables: readonly Table[]) {
  const table = tables.find((known) => known.name === name);
  if (table === undefined)
    throw missing(`a table ${name}`, `Create it first, as it was: create table public.${name} (…);`);
  const places = columns.map(({ name: column, type }) => {
    const place = table.columns.find((known) => known.name === column);
    if (place !== undefined) return place;
    throw missing(
      `a column ${name}.${column}`,
      `Add it first: alter table public.${name} add column "${column}" ${type};`,
    );
  });
  return { quoted: table.quoted, columns: columnList(places) };
}

const missing = (what: string, hint: string): OpsError =>
  new OpsError('OPS_013', `the backup has ${what}, which the database has not`, { hint });
