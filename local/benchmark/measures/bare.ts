/**
 * The bare limit of this machine: one table, two columns that matter, claim and finish of 100 rows at a time in two
 * loops, no fence, no history, no events. Every other rate stands beside this one of the same run.
 */
import { bareName, perSecond } from '../figure.js';
import type { Room } from '../room.js';
import type { Measure } from './measure.js';

const table = 'public.ops_loop_benchmark_bare';
const claim = `update ${table} set state = 1 where id = any (array(
  select id from ${table} where state = 0 order by id limit 100 for update skip locked)) returning id`;
const finish = `update ${table} set state = 2 where id = any ($1::bigint[]) and state = 1`;

export const bareLimit: Measure = {
  name: bareName,
  async run({ database: { pool }, sizes: { bareRows } }: Room) {
    await pool.query(
      `create table ${table} (id bigint primary key, state smallint not null default 0) with (fillfactor = 80)`,
    );
    await pool.query(`create index on ${table} (id) where state = 0`);
    await pool.query(`insert into ${table} select i from generate_series(1, ${bareRows}) i`);
    await pool.query(`vacuum analyze ${table}`);
    await pool.query('checkpoint').catch(() => {});
    const loop = async (): Promise<void> => {
      for (;;) {
        const { rows } = await pool.query<{ id: number }>(claim);
        if (rows.length === 0) return;
        await pool.query(finish, [rows.map((row) => row.id)]);
      }
    };
    const started = performance.now();
    await Promise.all([loop(), loop()]);
    return [{ name: bareName, value: perSecond(bareRows, performance.now() - started), unit: 'rows/s' }];
  },
};
