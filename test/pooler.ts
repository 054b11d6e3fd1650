/**
 * `npm run test:pooler [-- files]`: the SQL and worker tests with everything of ours going through PgBouncer in
 * transaction mode, three connections for all, and no LISTEN. Skipped with a line that says so where PgBouncer is not
 * installed. The tests' own look at the database stays direct.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { chownSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { serverAccount } from '../local/embedded/account.js';
import { startEmbedded } from '../local/embedded/embedded.js';
import { freePort } from '../local/embedded/state.js';
import { forgetfulSettings, temporaryDirectory } from './support/cluster.js';
import { until } from './support/until.js';

/** Connections per database and user. */
const poolSize = 3;
const chosen = process.argv.slice(2).length > 0 ? process.argv.slice(2) : ['test/sql', 'test/unit/worker'];

function pgbouncerVersion(): string | undefined {
  try {
    return execFileSync('pgbouncer', ['--version'], { encoding: 'utf8' }).split('\n')[0];
  } catch {
    return undefined;
  }
}

async function runThroughPooler(name: string): Promise<number> {
  const home = await temporaryDirectory('pooler');
  const database = await startEmbedded({ dataDir: join(home, 'postgres'), settings: forgetfulSettings });
  const port = await freePort();
  const pooler = await startPooler(home, new URL(database.url), port);
  try {
    await until(() => answers(database.url, port), { what: 'PgBouncer takes connections' });
    process.stdout.write(`${name}, transaction mode, ${poolSize} connections\n`);
    const { status } = spawnSync(
      'npx',
      ['vitest', 'run', '--config', 'test/vitest.config.ts', '--testTimeout=180000', ...chosen],
      {
        stdio: 'inherit',
        env: { ...process.env, OPS_TEST_DATABASE_URL: database.url, OPS_TEST_POOLER_PORT: String(port) },
      },
    );
    return status ?? 1;
  } finally {
    pooler.kill('SIGKILL');
    await database.stop();
    rmSync(home, { recursive: true, force: true });
  }
}

/** PgBouncer refuses to run as root, so it gets the account that the server has. */
async function startPooler(home: string, server: URL, port: number): Promise<ChildProcess> {
  const account = await serverAccount(home);
  const ini = join(home, 'pgbouncer.ini');
  const users = join(home, 'users.txt');
  writeFileSync(users, `"${server.username}" "${server.password}"\n`, { mode: 0o600 });
  writeFileSync(ini, settings(server, port, users), { mode: 0o600 });
  if (account !== undefined) for (const file of [ini, users]) chownSync(file, account.uid, account.gid);
  return spawn('pgbouncer', ['--quiet', ini], {
    ...account,
    cwd: '/',
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** Roles that tests make are looked up in the server; their SCRAM keys are passed on to it. */
const settings = (server: URL, port: number, users: string): string => `
[databases]
* = host=${server.hostname} port=${server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
pool_mode = transaction
default_pool_size = ${poolSize}
max_client_conn = 1000
auth_type = scram-sha-256
auth_file = ${users}
auth_user = ${server.username}
auth_query = select usename, passwd from pg_catalog.pg_shadow where usename = $1
ignore_startup_parameters = extra_float_digits, statement_timeout, idle_in_transaction_session_timeout, options
log_connections = 0
log_disconnections = 0
log_pooler_errors = 0
`;

async function answers(direct: string, port: number): Promise<boolean> {
  const connectionString = Object.assign(new URL(direct), { port: String(port) }).href;
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 1_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    return (await client.query('select 1')).rowCount === 1;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

const version = pgbouncerVersion();
if (version === undefined)
  process.stdout.write(
    'pooler: skipped, pgbouncer is not installed (on Debian: apt-get install --no-install-recommends pgbouncer)\n',
  );
else process.exitCode = await runThroughPooler(version);
