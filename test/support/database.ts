import { randomBytes } from 'node:crypto';
import { Client, Pool, type QueryResultRow } from 'pg';
import { afterAll, beforeAll, inject } from 'vitest';
import { migrate, seed } from '../../local/migrations.js';
import { administer, databaseUrl, randomName } from './template.js';
import { until } from './until.js';

/** Runs one statement, or several without values, and gives the rows. */
export type Sql = <Row extends QueryResultRow = Record<string, unknown>>(
  text: string,
  values?: unknown[],
) => Promise<Row[]>;

export type TestDatabase = {
  /** For what is tested: behind PgBouncer when `npm run test:pooler` says so. `pool`, `sql` and `connect` are direct. */
  url: string;
  pool: Pool;
  sql: Sql;
  /** The only row; fails when there is none or more than one. */
  one<Row extends QueryResultRow = Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row>;
  /** A connection of its own, for races between two. Closed with the database. */
  connect(url?: string): Promise<Client>;
  /** The same database under another login. */
  urlAs(role: string, password: string): string;
  /** Superuser's connection string to the same database, also when it belongs to a plain owner. */
  adminUrl: string;
};

export type DatabaseOptions = {
  /** `seeded` (default): a clone of the template. `empty`: nothing in it. */
  content?: 'seeded' | 'empty';
  /**
   * The database belongs to a login role that is neither superuser nor BYPASSRLS nor CREATEROLE; with content
   * `seeded` the migrations and the seed run as that owner. `url`, `pool` and `sql` are the owner's.
   */
  asOwner?: boolean;
};

type Disposable = TestDatabase & { dispose(): Promise<void> };

/** Set by `npm run test:pooler`. */
const poolerPort = process.env.OPS_TEST_POOLER_PORT;

/** No test statement may hang longer than a test: a lock that is never released fails by name. */
const statementTimeoutMs = 20_000;
/** A closed connection's server process ends within milliseconds, on a busy machine seconds; what is still there after this was leaked. */
const closeDeadlineMs = 10_000;

/**
 * A database of its own for the test file (or the `describe`) that calls this; dropped afterwards. Fails the file
 * with the connection's last statement when something did not close what it opened.
 */
export function useDatabase(options: DatabaseOptions = {}): TestDatabase {
  let current: Disposable | undefined;
  const database = () => {
    if (current === undefined) throw new Error('the test database exists from beforeAll to afterAll only');
    return current;
  };
  beforeAll(async () => {
    current = await createDatabase(options);
  });
  afterAll(async () => {
    const ended = current;
    current = undefined;
    await ended?.dispose();
  });
  return {
    get url() {
      return database().url;
    },
    get adminUrl() {
      return database().adminUrl;
    },
    get pool() {
      return database().pool;
    },
    sql: (text, values) => database().sql(text, values),
    one: (text, values) => database().one(text, values),
    connect: (url) => database().connect(url),
    urlAs: (role, password) => database().urlAs(role, password),
  };
}

/** Makes a database outside of `useDatabase`; the caller disposes of it. */
export async function createDatabase(options: DatabaseOptions = {}): Promise<Disposable> {
  const adminUrl = inject('adminUrl');
  const name = randomName('db');
  if (options.asOwner === true) return createOwned(adminUrl, name, options);
  if (options.content === 'empty') await administer(adminUrl, `create database ${name}`);
  else await administer(adminUrl, `create database ${name} template ${template()} strategy file_copy`);
  return open(adminUrl, name, databaseUrl(adminUrl, name));
}

function template(): string {
  const error = inject('templateError');
  if (error !== '') throw new Error(error);
  return inject('template');
}

async function createOwned(
  adminUrl: string,
  name: string,
  { content }: DatabaseOptions,
): Promise<Disposable> {
  const role = randomName('owner');
  const password = randomBytes(12).toString('hex');
  const traits = 'login nosuperuser nobypassrls nocreaterole nocreatedb';
  await administer(
    adminUrl,
    `create role ${role} ${traits} password '${password}'`,
    `create database ${name} owner ${role}`,
  );
  const url = databaseUrl(adminUrl, name, { role, password });
  const database = open(adminUrl, name, url, role);
  if (content === 'empty') return database;
  try {
    await migrate(url);
    await seed(url);
    return database;
  } catch (error) {
    await database.dispose();
    throw error;
  }
}

function open(adminUrl: string, name: string, url: string, owner?: string): Disposable {
  const pool = new Pool({
    connectionString: url,
    max: 10,
    connectionTimeoutMillis: 10_000,
    statement_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout: statementTimeoutMs,
    application_name: 'test',
  });
  // Tests terminate backends on purpose, of idle clients and of borrowed ones.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  const clients: Client[] = [];
  const sql: Sql = async (text, values) => (await pool.query(text, values)).rows;
  return {
    url: throughPooler(url),
    adminUrl: databaseUrl(adminUrl, name),
    pool,
    sql,
    one: async (text, values) => onlyRow(await pool.query(text, values), text),
    connect: async (other) => {
      const client = await connectTo(other ?? url);
      clients.push(client);
      return client;
    },
    urlAs: (role, password) => databaseUrl(adminUrl, name, { role, password }),
    dispose: async () => {
      await Promise.all(clients.map((client) => client.end().catch(() => {})));
      await close(adminUrl, name, pool, owner);
    },
  };
}

/** The same database behind the pooler of this run, if there is one; `pgbouncer=true` tells our own code so. */
function throughPooler(url: string): string {
  if (poolerPort === undefined) return url;
  const pooled = Object.assign(new URL(url), { port: poolerPort });
  pooled.searchParams.set('pgbouncer', 'true');
  return pooled.href;
}

function onlyRow<Row extends QueryResultRow>({ rows }: { rows: Row[] }, text: string): Row {
  const [row] = rows;
  if (row === undefined || rows.length > 1) throw new Error(`expected one row, got ${rows.length}: ${text}`);
  return row;
}

async function connectTo(connectionString: string): Promise<Client> {
  const client = new Client({
    connectionString,
    connectionTimeoutMillis: 10_000,
    statement_timeout: statementTimeoutMs,
  });
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** Drops the database whatever happened, then complains about what was left open. */
async function close(adminUrl: string, name: string, pool: Pool, owner: string | undefined): Promise<void> {
  const checkedOut = pool.totalCount - pool.idleCount;
  const ended = pool.end();
  // A pooler keeps its connections for the next client.
  const open = poolerPort === undefined ? await openConnections(adminUrl, name) : [];
  await administer(adminUrl, `drop database ${name} with (force)`);
  // A client that was never given back keeps `end` waiting for ever.
  if (checkedOut === 0) await ended;
  if (owner !== undefined) await administer(adminUrl, `drop role ${owner}`);
  const leaked = [
    ...open,
    ...(checkedOut > 0 ? [`${checkedOut} client(s) of the test pool were not released`] : []),
  ];
  if (leaked.length > 0)
    throw new Error(`connections left open at the end of the test file:\n  ${leaked.join('\n  ')}`);
}

/** Waits for the connections to a database to close; gives a line for each that does not. */
async function openConnections(adminUrl: string, name: string): Promise<string[]> {
  const admin = await connectTo(adminUrl);
  const look = async () => {
    const { rows } = await admin.query(
      `select format('%s %s: %s', coalesce(nullif(application_name, ''), 'unnamed'), state, left(query, 200)) as line
       from pg_catalog.pg_stat_activity where datname = $1 and backend_type = 'client backend'`,
      [name],
    );
    return rows.map(({ line }) => String(line));
  };
  try {
    await until(async () => (await look()).length === 0, {
      what: 'connections close',
      deadlineMs: closeDeadlineMs,
    });
    return [];
  } catch {
    return await look();
  } finally {
    await admin.end();
  }
}
