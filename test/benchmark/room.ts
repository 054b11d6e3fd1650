/** A durable throw-away cluster with a fresh database per measure, and a worker to drain it. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import pino from 'pino';
import { startEmbedded } from '../../local/embedded/embedded.js';
import { migrate } from '../../local/migrations.js';
import { startWorker } from '../../local/worker/worker.js';
import { type Database, openDatabase } from '../../supabase/client/pg.js';
import { temporaryDirectory } from '../support/cluster.js';

/** As the peers are measured: everything durable, room for the working set. */
const settings = { shared_buffers: '512MB', max_wal_size: '4GB', max_connections: '100' };

export type Room = { database: Database; url: string; close(): Promise<void> };
export type House = { room(): Promise<Room>; version: string; stop(): Promise<void> };

export async function openHouse(): Promise<House> {
  const home = await temporaryDirectory('benchmark');
  const cluster = await startEmbedded({ dataDir: join(home, 'postgres'), settings });
  const admin = openDatabase({ connectionString: cluster.url, max: 1 });
  const { rows } = await admin.pool.query<{ server_version: string }>('show server_version');
  let count = 0;
  return {
    version: rows[0]?.server_version ?? '?',
    async room() {
      const name = `benchmark_${++count}`;
      await admin.pool.query(`create database ${name}`);
      const url = Object.assign(new URL(cluster.url), { pathname: `/${name}` }).href;
      await migrate(url);
      const database = openDatabase({ connectionString: url, max: 8 });
      return {
        database,
        url,
        close: async () => {
          await database.close();
          await admin.pool.query(`drop database ${name} with (force)`);
        },
      };
    },
    async stop() {
      await admin.close();
      await cluster.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** Lets every noop through: what is measured is the engine, not the caps. */
export async function openGates({ port }: Database): Promise<void> {
  await port.setPolicy({
    key: 'auto_approve',
    value: { enabled: true, allowed_step_kinds: ['noop'], max_risk_level: 'medium' },
  });
}

/** Drains the queue with one worker at its default settings; answers milliseconds until it was idle. */
export async function drainWithWorker({ port }: Database, concurrency?: number): Promise<number> {
  const started = performance.now();
  const worker = await startWorker({
    port,
    log: pino({ level: 'silent' }),
    once: true,
    concurrency,
    print: () => {},
    name: 'benchmark',
  });
  await worker.done;
  return performance.now() - started;
}

/** Statistics and a checkpoint, so that a measure does not pay for what prepared it. */
export async function settle({ pool }: Database): Promise<void> {
  await pool.query('vacuum analyze');
  await pool.query('checkpoint');
}
