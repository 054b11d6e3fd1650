/** What happens to PostgreSQL. */
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { databaseBoundMs, type Fault } from '../fault.js';

const backends = `
  select pid from pg_stat_activity
  where datname = current_database() and backend_type = 'client backend' and application_name <> 'drill admin'`;

const backendTerminate: Fault = {
  name: 'backend-terminate',
  what: 'pg_terminate_backend of half the connections, three times',
  boundMs: databaseBoundMs,
  strike: async ({ ask }, dice) => {
    for (let round = 0; round < 3; round++) {
      const hit = (await ask<{ pid: number }>(backends)).filter(() => dice.chance(0.5));
      await ask('select pg_terminate_backend(pid) from unnest($1::int[]) pid', [hit.map(({ pid }) => pid)]);
      await pause(dice.whole(50, 500));
    }
    return undefined;
  },
};

const backendKill: Fault = {
  name: 'backend-kill',
  what: 'kill -9 of one backend: the server drops all and recovers',
  boundMs: databaseBoundMs,
  strike: async ({ ask }, dice) => {
    const found = await ask<{ pid: number }>(backends);
    if (found.length > 0) killProcess(dice.pick(found).pid);
    return undefined;
  },
};

function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended at this very moment.
  }
}

const serverStop: Fault = {
  name: 'server-stop',
  what: 'PostgreSQL stopped at once, and started after up to 2 s',
  boundMs: databaseBoundMs,
  strike: async ({ server }, dice) => {
    await server.kill('SIGQUIT');
    await pause(dice.whole(0, 2_000));
    await server.start();
    return undefined;
  },
};

const serverKill: Fault = {
  name: 'server-kill',
  what: "kill -9 of PostgreSQL's first process, and a start",
  boundMs: databaseBoundMs,
  strike: async ({ server }, dice) => {
    await server.kill('SIGKILL');
    await pause(dice.whole(0, 2_000));
    await server.start();
    return undefined;
  },
};

const serverLoop: Fault = {
  name: 'server-loop',
  what: 'three immediate stops in a row, with up to 2 s in between',
  boundMs: databaseBoundMs,
  strike: async ({ server }, dice) => {
    for (let round = 0; round < 3; round++) {
      await server.kill('SIGQUIT');
      await server.start();
      await pause(dice.whole(0, 2_000));
    }
    return undefined;
  },
};

const readOnly: Fault = {
  name: 'read-only',
  what: 'default_transaction_read_only on, for 2 to 4 s',
  boundMs: databaseBoundMs,
  strike: async ({ ask }, dice) => {
    await ask('alter system set default_transaction_read_only = on');
    await ask('select pg_reload_conf()');
    await pause(dice.whole(2_000, 4_000));
    await ask('alter system reset default_transaction_read_only');
    await ask('select pg_reload_conf()');
    return undefined;
  },
};

/** More than max_connections: the rest is refused. */
const greed = 70;

const connectionsTaken: Fault = {
  name: 'connections-taken',
  what: 'every free connection of the server taken, for 2 to 4 s',
  boundMs: databaseBoundMs,
  strike: async ({ server }, dice) => {
    const clients = Array.from({ length: greed }, () => new pg.Client({ connectionString: server.url }));
    for (const client of clients) client.on('error', () => {});
    await Promise.all(clients.map((client) => client.connect().catch(() => {})));
    await pause(dice.whole(2_000, 4_000));
    await Promise.all(clients.map((client) => client.end().catch(() => {})));
    return undefined;
  },
};

export const serverFaults = [
  backendTerminate,
  backendKill,
  serverStop,
  serverKill,
  serverLoop,
  readOnly,
  connectionsTaken,
];
