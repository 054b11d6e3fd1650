/**
 * The `pg` adapter: sends one `select * from public.fn(name => $1, …)` per call, unnamed, so that it works through
 * a transaction-mode pooler. A statement that was rolled back (deadlock, serialization) is sent again with jitter.
 */
import { setTimeout as wait } from 'node:timers/promises';
import pg from 'pg';
import type { Request } from './call.js';
import { fromDatabase, OpsError } from './errors.js';
import { stringify } from './json-text.js';
import { type CallOptions, createPort, type OpsPort } from './port.js';
import { resend } from './resend.js';

/** Supabase ends statements of its API roles after 8 s; a call that has not answered by 10 s will not. */
const defaultDeadlineMs = 10_000;

export type Database = { port: OpsPort; pool: pg.Pool; close(): Promise<void> };

/** Times arrive as ISO 8601 text, bigint as a number (epochs and counts stay far below 2^53). */
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') => {
    if (oid === 1184 || oid === 1114) return (text: string) => isoTime(text);
    if (oid === 20) return Number;
    return pg.types.getTypeParser(oid, format as 'text');
  }) as pg.CustomTypesConfig['getTypeParser'],
};

/** `2026-11-20 08:55:29.123+00` → `2026-11-20T08:55:29.123+00:00`. */
export function isoTime(text: string): string {
  const iso = text.replace(' ', 'T');
  return /[+-]\d\d$/.test(iso) ? `${iso}:00` : iso;
}

/** Opens a pool; nothing connects before the first call. What breaks a connection is the next call's to report. */
export function openDatabase(config: pg.PoolConfig): Database {
  const pool = new pg.Pool({ connectionTimeoutMillis: 5_000, keepAlive: true, max: 10, ...config, types });
  pool.on('error', () => {});
  // A connection that breaks while it is in use says so twice: to its query, and here, where nobody else listens.
  pool.on('connect', (client) => client.on('error', () => {}));
  const port = createPort((request, options) => sendWithRetry(pool, request, options));
  return { port, pool, close: () => pool.end() };
}

async function sendWithRetry(pool: pg.Pool, request: Request, options: CallOptions): Promise<unknown[]> {
  try {
    return await resend(() => send(pool, request, options));
  } catch (error) {
    throw fromDatabase(error);
  }
}

async function send(
  pool: pg.Pool,
  request: Request,
  { deadlineMs = defaultDeadlineMs }: CallOptions,
): Promise<unknown[]> {
  const client = await pool.connect();
  const deadline = new AbortController();
  try {
    const query = client.query(statement(request));
    const { rows } = await Promise.race([query, overdue(request.fn, deadlineMs, deadline.signal, query)]);
    client.release();
    return request.kind === 'value' ? rows.map((r) => r.value) : rows;
  } catch (error) {
    // After an SQL error the connection is clean; after anything else its state is unknown, so it is thrown away.
    if (error instanceof Overdue) cancel(client);
    client.release(!isSqlError(error));
    throw error;
  } finally {
    deadline.abort();
  }
}

async function overdue(
  fn: string,
  deadlineMs: number,
  signal: AbortSignal,
  query: Promise<unknown>,
): Promise<never> {
  try {
    await wait(deadlineMs, undefined, { signal, ref: false });
  } catch {
    return await new Promise<never>(() => {});
  }
  query.catch(() => {});
  throw new Overdue('OPS_001', `${fn} did not answer within ${deadlineMs} ms`, {
    hint: 'The outcome is unknown; the call is safe to repeat. Look at pg_stat_activity for what it waits for.',
  });
}

class Overdue extends OpsError {}

/** What `pg` has and its types leave out. */
type Backend = { host: string; port: number; processID: number; secretKey: number };
type Wire = pg.Connection & {
  connect(portOrSocket: number | string, host?: string): void;
  cancel(processID: number, secretKey: number): void;
};

/**
 * Asks the server to end what we no longer wait for (manual, 53.2.8). Without that its backend would wait on for its
 * lock, and every new try would open one more. In the clear, as the request has no text; nobody answers it.
 */
function cancel(client: pg.PoolClient): void {
  const { host, port, processID, secretKey } = client as unknown as Backend;
  const wire = new pg.Connection() as Wire;
  wire.on('error', () => {});
  wire.on('connect', () => wire.cancel(processID, secretKey));
  if (host.startsWith('/')) wire.connect(`${host}/.s.PGSQL.${port}`);
  else wire.connect(port, host);
}

const isSqlError = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && !/^(08|57P0)/.test(error.code ?? '');

/** `select * from public.ops_x(p_a => $1::text)`; a function that answers one value gets it as `value`. */
export function statement({ fn, args, kind }: Request): { text: string; values: unknown[] } {
  const list = args.map((a, i) => `${a.name} => $${i + 1}::${a.sql}`).join(', ');
  const values = args.map((a) => (a.sql === 'jsonb' ? stringify(a.value) : a.value));
  const text =
    kind === 'value' ? `select public.${fn}(${list}) as value` : `select * from public.${fn}(${list})`;
  return { text, values };
}
