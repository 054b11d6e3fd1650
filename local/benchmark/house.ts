/**
 * Houses of the benchmark: a throw-away PostgreSQL of our own, or a server that was named. There every measure gets a
 * database of its own if the login may create one, and otherwise works in the named database, which is emptied of what
 * the measure made.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConnection } from '../../supabase/client/connection.js';
import { OpsError } from '../../supabase/client/errors.js';
import { openDatabase } from '../../supabase/client/pg.js';
import { startEmbedded } from '../embedded/embedded.js';
import { migrate } from '../migrations.js';
import { clean, keepPolicies, refuseForeign } from './guest.js';
import { cpuOfServer, type House, type Room } from './room.js';
import type { Sizes } from './sizes.js';

/** Durable, as production is, and with room for the working set, as the peers are measured. */
const settings = { shared_buffers: '512MB', max_wal_size: '4GB', max_connections: '100' };
const connections = 8;

type Admin = ReturnType<typeof open>;

const open = (url: string, max: number) =>
  openDatabase({ ...parseConnection(url).config, max, application_name: 'ops-loop benchmark' });

export async function embeddedHouse(sizes: Sizes): Promise<House> {
  const home = await mkdtemp(join(await realpath(tmpdir()), 'ops-loop-benchmark-'));
  // The server's account has to pass through it.
  await chmod(home, 0o711);
  const server = await startEmbedded({ dataDir: join(home, 'postgres'), settings });
  const admin = open(server.url, 1);
  const own = await ownRooms(admin, server.url, sizes);
  return {
    version: await versionOf(admin),
    room: own.room,
    async stop() {
      await admin.close();
      await server.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** Throws `OPS_015` for a database with anybody's data in it, unless that was allowed by `anyway`. */
export async function givenHouse(url: string, sizes: Sizes, anyway: boolean): Promise<House> {
  const admin = open(url, 1);
  try {
    const version = await versionOf(admin);
    await refuseForeign(admin.pool, anyway);
    if (!(await canCreate(admin)))
      return { version, room: () => guestRoom(url, sizes), stop: () => admin.close() };
    const own = await ownRooms(admin, url, sizes);
    return { version, room: own.room, stop: () => own.drop().finally(admin.close) };
  } catch (error) {
    await admin.close();
    throw error;
  }
}

/** Databases of our own on this server: copies of one that has the schema and nothing else. */
async function ownRooms(admin: Admin, serverUrl: string, sizes: Sizes) {
  const template = `ops_loop_benchmark_${randomBytes(6).toString('hex')}`;
  const urlOf = (name: string) => Object.assign(new URL(serverUrl), { pathname: `/${name}` }).href;
  const drop = async (name: string): Promise<void> =>
    void (await admin.pool.query(`drop database if exists ${name} with (force)`));
  await admin.pool.query(`create database ${template}`);
  try {
    await migrate(parseConnection(urlOf(template)).config);
  } catch (error) {
    await drop(template);
    throw error;
  }
  let count = 0;
  const room = async (): Promise<Room> => {
    const name = `${template}_${++count}`;
    await admin.pool.query(`create database ${name} template ${template}`);
    return roomAt(urlOf(name), sizes, () => drop(name));
  };
  return { room, drop: () => drop(template) };
}

async function guestRoom(url: string, sizes: Sizes): Promise<Room> {
  const { port, pool, close } = open(url, 1);
  try {
    await port.schemaVersion();
    const giveBack = await keepPolicies(port, pool);
    await close();
    return roomAt(url, sizes, async () => {
      const after = open(url, 1);
      await clean(after.pool).finally(() => giveBack(after));
      await after.close();
    });
  } catch (cause) {
    await close();
    throw cause;
  }
}

function roomAt(url: string, sizes: Sizes, leave: () => Promise<void>): Room {
  const database = open(url, connections);
  return {
    database,
    url,
    sizes,
    serverCpuMs: () => cpuOfServer(database.pool),
    close: async () => {
      await database.close();
      await leave();
    },
  };
}

async function versionOf({ pool }: Admin): Promise<string> {
  const { rows } = await pool
    .query<{ server_version: string }>('show server_version')
    .catch((cause: unknown) => {
      throw new OpsError('OPS_001', 'the database does not answer', {
        hint: 'Check --url and that the server takes connections from here.',
        cause,
      });
    });
  return rows[0]?.server_version.split(' ')[0] ?? '?';
}

async function canCreate({ pool }: Admin): Promise<boolean> {
  const { rows } = await pool.query<{ may: boolean }>(
    'select rolcreatedb or rolsuper as may from pg_catalog.pg_roles where rolname = current_user',
  );
  return rows[0]?.may === true;
}
