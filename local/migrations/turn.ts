/** The turn of one installer: a connection, and on it one transaction under the lock that all installers share. */
import { Client, type ClientConfig } from 'pg';
import { fromDatabase } from '../../supabase/client/errors.js';
import { resend } from '../../supabase/client/resend.js';

export type Connection = string | ClientConfig;

export type TurnOptions = {
  /** How long one statement may wait for a table lock. Default 10 s. */
  lockTimeoutMs?: number;
  /** How long one statement may run. Default 5 minutes. */
  statementTimeoutMs?: number;
};

/** The letters `ops_loop` read as one number: a key that no other program is likely to lock. */
const lockKey = Buffer.from('ops_loop').readBigUInt64BE().toString();
/** How long to wait for other installers. */
const turnTimeoutMs = 600_000;

/**
 * One transaction, begun by waiting for the turn of this installer. Everything set is local to it. `work` is called
 * again when the transaction lost a deadlock against a loop at work.
 */
export function inTurn<T>(client: Client, options: TurnOptions, work: () => Promise<T>): Promise<T> {
  return resend(() => takeTurn(client, options, work), lostDeadlock);
}

/** Not a lock timeout: that long was waited for already. */
function lostDeadlock(error: unknown): boolean {
  const { code, cause } = error as { code?: unknown; cause?: { code?: unknown } };
  return code === '40P01' || cause?.code === '40P01';
}

async function takeTurn<T>(
  client: Client,
  { lockTimeoutMs = 10_000, statementTimeoutMs = 300_000 }: TurnOptions,
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

/** A connection for `work`, ended after it. Throws `OpsError`. */
export async function withClient<T>(
  connection: Connection,
  work: (client: Client) => Promise<T>,
): Promise<T> {
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
