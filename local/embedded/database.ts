import { Client } from 'pg';
import { errorCode } from './refusal.js';
import type { ClusterState } from './state.js';

export const host = '127.0.0.1';
const databaseName = 'ops_loop';

/** Supabase's API roles, which the migrations grant to and take from. */
const apiRoles = {
  anon: 'nologin',
  authenticated: 'nologin',
  service_role: 'nologin bypassrls',
} as const;

/** SQLSTATEs of "somebody made it first": duplicate database, duplicate object, unique violation in a catalog. */
const madeAlready = new Set(['42P04', '42710', '23505']);

/** The line an operator can paste into psql. */
export function connectionUrl({ port, password }: ClusterState, database = databaseName): string {
  return `postgres://postgres:${password}@${host}:${port}/${database}`;
}

/** What a server answered: `open`, `away` (starting, stopping, or no listener: try again), or the refusal. */
export type Answer = { kind: 'open' } | { kind: 'away' } | { kind: 'refused'; cause: unknown };

/** SQLSTATE 57P03 (cannot connect now) and errnos of a server that is on its way up or down. */
const away = new Set(['57P01', '57P03', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE']);

/** Asks the server whether it takes our password. SCRAM proves both sides, so `open` means it is ours. */
export async function askServer(state: ClusterState): Promise<Answer> {
  const client = clientFor(state);
  try {
    await client.connect();
    return { kind: 'open' };
  } catch (cause) {
    const dropped = cause instanceof Error && /terminated|timeout/i.test(cause.message);
    return dropped || away.has(errorCode(cause)) ? { kind: 'away' } : { kind: 'refused', cause };
  } finally {
    await client.end().catch(() => {});
  }
}

/** Creates the database and the API roles where they are absent; a second call changes nothing. */
export async function ensureDatabase(state: ClusterState): Promise<void> {
  const client = clientFor(state);
  await client.connect();
  try {
    await ensureApiRoles(client);
    const known = 'select 1 from pg_catalog.pg_database where datname = $1';
    await unlessMade(client, known, databaseName, `create database ${databaseName}`);
  } finally {
    await client.end();
  }
}

/** Creates Supabase's API roles where they are absent; the connection must be a superuser's. */
export async function ensureApiRoles(client: Client): Promise<void> {
  const known = 'select 1 from pg_catalog.pg_roles where rolname = $1';
  for (const [role, traits] of Object.entries(apiRoles))
    await unlessMade(client, known, role, `create role ${role} ${traits}`);
}

async function unlessMade(client: Client, known: string, name: string, statement: string): Promise<void> {
  if ((await client.query(known, [name])).rowCount !== 0) return;
  await client.query(statement).catch((error: unknown) => {
    if (!madeAlready.has(errorCode(error))) throw error;
  });
}

function clientFor(state: ClusterState): Client {
  const client = new Client({
    connectionString: connectionUrl(state, 'postgres'),
    ssl: false,
    connectionTimeoutMillis: 5_000,
    application_name: 'ops-loop start',
  });
  // A server that stops under an idle client is told by the next query.
  client.on('error', () => {});
  return client;
}
