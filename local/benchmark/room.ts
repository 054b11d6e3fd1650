/** Where a measure works: a fresh database of its own, or one that was given and is emptied again afterwards. */
import type { Pool } from 'pg';
import type { Database } from '../../supabase/client/pg.js';
import type { Sizes } from './sizes.js';
import { serverCpuMs } from './usage.js';

export type Room = {
  database: Database;
  url: string;
  sizes: Sizes;
  /** Milliseconds of processor time that the whole server has used; undefined where nobody says. */
  serverCpuMs(): Promise<number | undefined>;
  close(): Promise<void>;
};

/** Rooms, one after the other, on one server. */
export type House = { room(): Promise<Room>; version: string; stop(): Promise<void> };

/** One name for all that the benchmark makes, so that it can be told from everything else. */
export const mark = 'benchmark';

/** Lets every no-op through: what is measured is the engine, not the caps. */
export async function openGates({ port }: Database): Promise<void> {
  await port.setPolicy({
    key: 'auto_approve',
    value: { enabled: true, allowed_step_kinds: ['noop'], max_risk_level: 'medium' },
    reason: mark,
  });
}

/** Statistics and a checkpoint, so that a measure does not pay for what prepared it. */
export async function settle({ pool }: Database): Promise<void> {
  await pool.query('vacuum analyze');
  // Only superusers and pg_checkpoint may; elsewhere it comes when it comes.
  await pool.query('checkpoint').catch(() => {});
}

/** Fails loudly when a figure would be about work that was not done. */
export async function expectCount({ pool }: Database, sql: string, expected: number): Promise<void> {
  const { rows } = await pool.query<{ n: string }>(sql);
  if (Number(rows[0]?.n) !== expected) throw new Error(`${sql}: ${rows[0]?.n}, expected ${expected}`);
}

/** Missions of `steps` no-ops whose results are stored; answers milliseconds. */
export async function fillMissions({ port }: Database, missions: number, steps: number): Promise<number> {
  const template = {
    title: mark,
    steps: Array.from({ length: steps }, (_, i) => ({ kind: 'noop', params: { echo: { i } } })),
  };
  const started = performance.now();
  for (let i = 0; i < missions; i += 1_000)
    await port.createProposals(
      { proposals: Array.from({ length: Math.min(1_000, missions - i) }, () => ({ template })) },
      { deadlineMs: 60_000 },
    );
  return performance.now() - started;
}

export async function cpuOfServer(pool: Pool): Promise<number | undefined> {
  const client = await pool.connect();
  try {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    return await serverCpuMs(Number(rows[0]?.pid));
  } finally {
    client.release();
  }
}
