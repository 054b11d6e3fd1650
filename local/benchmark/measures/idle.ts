/** What a worker asks of the database while there is nothing to do. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Room } from '../room.js';
import { withIdleWorker } from '../worker.js';
import type { Measure } from './measure.js';

/** Committed transactions of this database; each of the worker's queries is one. */
const committed =
  'select xact_commit::float8 as n from pg_catalog.pg_stat_database where datname = current_database()';
/** From then on an idle worker waits for a notification (its looks after 5, 20 and 80 ms are over). */
const settledMs = 500;

/**
 * A backend hands in its counts at its end at the latest, so the worker is watched twice, for a short and a long
 * while: the difference is what idling costs, without start and goodbye.
 */
async function transactions({ database: { pool }, url }: Room, idleMs: number): Promise<number> {
  const count = async (): Promise<number> => (await pool.query<{ n: number }>(committed)).rows[0]?.n ?? 0;
  const before = await count();
  await withIdleWorker(url, { listen: true }, () => pause(settledMs + idleMs));
  return (await count()) - before;
}

export const idleWorker: Measure = {
  name: 'idle worker with a live LISTEN',
  async run(room) {
    const short = await transactions(room, 0);
    const long = await transactions(room, room.sizes.idleSeconds * 1_000);
    const perSecond = Math.max(0, long - short) / room.sizes.idleSeconds;
    return [{ name: this.name, value: perSecond, unit: 'queries/s' }];
  },
};
