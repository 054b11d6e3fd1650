/** Takes a backup: one snapshot of all tables, streamed to a file that has its name only once it is complete. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGzip, type Gzip } from 'node:zlib';
import type { Client, ClientConfig } from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import { OpsError } from '../../supabase/client/errors.js';
import { inTransaction, requireOwner } from './connection.js';
import { endOfRows, formatName, type Header } from './format.js';
import { dropLeftParts, partOf } from './parts.js';
import { columnList, listTables, settle, type Table } from './tables.js';

export type Backup = {
  file: string;
  bytes: number;
  schema: string;
  rows: number;
  tables: Record<string, number>;
};
export type BackupOptions = {
  config: ClientConfig;
  file: string;
  /** Rows written so far, and about how many there are. */
  onRows?: (done: number, total: number) => void;
  /** The name of a file that a killed backup to this place had left, once it is removed. */
  onLeft?: (name: string) => void;
};

/** Throws `OPS_014` for a role that does not own the tables, `OPS_013` without our schema, `OPS_011` for the file. */
export async function takeBackup(options: BackupOptions): Promise<Backup> {
  const { config, file, onRows = () => {}, onLeft = () => {} } = options;
  // First, for their room.
  for (const name of await dropLeftParts(file)) onLeft(name);
  const part = partOf(file);
  const gzip = createGzip();
  // For its owner alone: events and hashes of keys are in it. On the disk before it has its name.
  const written = pipeline(gzip, createWriteStream(part, { mode: 0o600, flush: true }));
  try {
    const begin = 'begin isolation level repeatable read read only';
    const work = inTransaction(config, begin, (client) => writeAll(client, gzip, onRows));
    const [taken] = await Promise.all([work, written]);
    await rename(part, file);
    return { file, bytes: (await stat(file)).size, ...taken };
  } catch (error) {
    gzip.destroy();
    const cause = await written.then(() => undefined, faultOfFile);
    await rm(part, { force: true });
    throw cause === undefined ? error : unwritable(file, cause);
  }
}

/** What the file system said; a stream that ended because we ended it says nothing. */
const faultOfFile = (error: NodeJS.ErrnoException): unknown =>
  error.code === 'ERR_STREAM_PREMATURE_CLOSE' ? undefined : error;

const unwritable = (file: string, cause: unknown): OpsError =>
  new OpsError('OPS_011', `cannot write ${file}`, {
    hint: 'Name a file in a directory that is there, may be written to, and has room.',
    cause,
  });

async function writeAll(client: Client, gzip: Gzip, onRows: NonNullable<BackupOptions['onRows']>) {
  await settle(client);
  const tables = await listTables(client);
  requireOwner(tables);
  const header = await headerOf(client, tables.length);
  await put(gzip, line(header));
  const total = tables.reduce((sum, { estimate }) => sum + estimate, 0);
  const counts: Record<string, number> = {};
  let done = 0;
  for (const table of tables) {
    const before = done;
    counts[table.name] = await writeTable(client, gzip, table, (rows) => {
      done = before + rows;
      onRows(done, Math.max(total, done));
    });
  }
  gzip.end(line({ end: true, tables: tables.length, rows: done }));
  return { schema: header.schema, rows: done, tables: counts };
}

async function headerOf(client: Client, tables: number): Promise<Header> {
  const { rows } = await client.query(
    `select public.ops_schema_version() as schema, current_setting('server_version') as server, now() as taken_at`,
  );
  const { schema, server, taken_at } = rows[0] ?? {};
  return { format: formatName, schema, server, taken_at: new Date(taken_at).toISOString(), tables };
}

async function writeTable(
  client: Client,
  gzip: Gzip,
  { name, quoted, columns }: Table,
  onRows: (rows: number) => void,
): Promise<number> {
  await put(gzip, line({ table: name, columns: columns.map(({ name, type }) => ({ name, type })) }));
  const hash = createHash('sha256');
  let rows = 0;
  for await (const piece of client.query(copyTo(`copy ${quoted} (${columnList(columns)}) to stdout`))) {
    hash.update(piece);
    rows += lineEnds(piece);
    await put(gzip, piece);
    onRows(rows);
  }
  onRows(rows);
  await put(gzip, `${endOfRows}${line({ rows, sha256: hash.digest('hex') })}`);
  return rows;
}

const line = (value: object): string => `${JSON.stringify(value)}\n`;

/** COPY writes one row a line, and ends of lines in values as \n. */
export function lineEnds(piece: Buffer): number {
  let count = 0;
  for (let at = piece.indexOf(10); at >= 0; at = piece.indexOf(10, at + 1)) count++;
  return count;
}

/** Waits while the file is slower than the database. */
async function put(gzip: Gzip, piece: string | Buffer): Promise<void> {
  if (gzip.destroyed) throw new Error('the file cannot be written');
  if (!gzip.write(piece)) await once(gzip, 'drain');
}
