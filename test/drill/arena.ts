/** Everything a drill plays on: database, proxy, workers, clients. Whatever happens, `close` ends all of it. */
import { rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { migrate } from '../../local/migrations.js';
import { type Database, openDatabase } from '../../supabase/client/pg.js';
import { temporaryDirectory } from '../support/cluster.js';
import { until } from '../support/until.js';
import { mountSmallDisk, type SmallDisk } from './disk.js';
import { type Ledger, openLedger } from './ledger.js';
import { policies, setPolicies } from './policies.js';
import { startProxy, type TcpProxy } from './proxy.js';
import type { Dice } from './random.js';
import { type DrillServer, startServer } from './server.js';
import { type Crew, defaultLeaseMs, type Route, startCrew } from './workers.js';

export type Arena = {
  home: string;
  server: DrillServer;
  /** Where the database lies, if it was asked for a disk that can be filled. */
  disk: SmallDisk | undefined;
  proxy: TcpProxy;
  crew: Crew;
  /** A client like any other: through the proxy. */
  client: Database;
  /** Opens a further client through the proxy; closed with the arena. */
  openClient(max: number): Database;
  /** Of the workers. */
  leaseMs: number;
  ledger: Ledger;
  dice: Dice;
  /** Past the proxy, asking until the database answers. For what the drill itself has to know. */
  ask<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** Sets everything right again that a fault may have left wrong. */
  heal(): Promise<void>;
  close(): Promise<void>;
};

/** How long the drill waits for an answer past the proxy: longer than any fault of the server lasts. */
const patienceMs = 40_000;

export type Layout = {
  /** Names of the workers. */
  names: string[];
  leaseMs?: number | undefined;
  /** Put the database on a small disk of its own. The process must have a mount namespace of its own for that. */
  smallDisk?: boolean | undefined;
  /** How a worker reaches the server; by default through the arena's proxy. */
  route?: (server: DrillServer, name: string) => Promise<Route>;
};

export async function openArena(
  dice: Dice,
  { names, route, leaseMs = defaultLeaseMs, smallDisk = false }: Layout,
): Promise<Arena> {
  const home = await temporaryDirectory('drill');
  const disk = smallDisk ? await mountSmallDisk(home) : undefined;
  const server = await startServer(disk?.directory ?? home);
  await migrate(server.url);
  const proxy = await startProxy({ host: '127.0.0.1', port: () => server.port });
  const url = Object.assign(new URL(server.url), { port: String(proxy.port) }).href;
  const clients: Database[] = [];
  const openClient = (max: number) => {
    const client = openDatabase({ connectionString: url, max, application_name: 'drill client' });
    clients.push(client);
    return client;
  };
  const admin = openAdmin(server.url);
  const ask: Arena['ask'] = (text, values) => askUntilAnswered(admin, text, values);
  const routes: Record<string, Route> = {};
  for (const name of names) routes[name] = (await route?.(server, name)) ?? { url };
  const crew = startCrew({ home, routes, concurrency: 20, leaseMs });
  const arena: Arena = {
    ...{ home, server, disk, proxy, crew, openClient, dice, ask, leaseMs },
    client: openClient(10),
    ledger: openLedger(),
    heal: () => heal(arena),
    close: async () => {
      for (const member of crew.members) if (member.child !== undefined) crew.kill(member);
      await proxy.close();
      await Promise.all(clients.filter(({ pool }) => !pool.ending).map((client) => client.close()));
      await admin.end();
      await server.stop();
      await disk?.unmount();
      await rm(home, { recursive: true, force: true });
    },
  };
  try {
    await until(() => allRegistered(arena), { what: 'all workers register', deadlineMs: 30_000 });
    await setPolicies(arena.client.port, 'the drill begins');
  } catch (error) {
    const said = [...crew.strange, ...[...crew.logged.values()].map(({ example }) => example)];
    await arena.close();
    throw new Error(`${error}; workers said: ${said.join(' | ')}`);
  }
  return arena;
}

async function allRegistered({ ask, crew }: Arena): Promise<boolean> {
  const [row] = await ask<{ n: number }>('select count(*)::int as n from ops_workers');
  return row?.n === crew.members.length;
}

function openAdmin(connectionString: string): pg.Pool {
  const admin = new pg.Pool({
    connectionString,
    max: 3,
    connectionTimeoutMillis: 3_000,
    query_timeout: 10_000,
    application_name: 'drill admin',
    options: '-c default_transaction_read_only=off',
  });
  admin.on('error', () => {});
  admin.on('connect', (client) => client.on('error', () => {}));
  return admin;
}

async function askUntilAnswered<Row extends pg.QueryResultRow>(
  admin: pg.Pool,
  text: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      return (await admin.query<Row>(text, values)).rows;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await pause(100);
    }
  }
}

async function heal({ proxy, server, disk, crew, ask, client }: Arena): Promise<void> {
  await disk?.free();
  proxy.setWeather({ kind: 'fair' });
  await server.start();
  for (const member of crew.members) {
    crew.thaw(member);
    crew.shiftClock(member, 0);
  }
  await ask('alter system reset default_transaction_read_only');
  await ask('select pg_reload_conf()');
  await until(
    () =>
      setPolicies(client.port, 'the drill heals').then(
        () => true,
        () => false,
      ),
    { what: `policies ${Object.keys(policies).join(', ')} are set right`, deadlineMs: patienceMs },
  );
}
