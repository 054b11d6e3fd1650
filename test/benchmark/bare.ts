/**
 * The bare limit of this machine: one table, two columns that matter, claim and finish of 100 rows at a time in two
 * loops, no fence, no history, no events. Every other figure stands beside this one of the same run.
 */
import type { Figure } from './measures.js';
import type { Room } from './room.js';

const total = 40_000;
const claim = `update bare set state = 1 where id = any (array(
  select id from bare where state = 0 order by id limit 100 for update skip locked)) returning id`;
const finish = 'update bare set state = 2 where id = any ($1::bigint[]) and state = 1';

export async function bareLimit({ database: { pool } }: Room): Promise<Figure[]> {
  await pool.query(
    'create table bare (id bigint primary key, state smallint not null default 0) with (fillfactor = 80)',
  );
  await pool.query('create index on bare (id) where state = 0');
  await pool.query(`insert into bare select i from generate_series(1, ${total}) i`);
  await pool.query('vacuum analyze bare');
  await pool.query('checkpoint');
  const started = performance.now();
  await Promise.all([loop(), loop()]);
  const ms = performance.now() - started;
  return [
    { name: 'bare claim and finish, batches of 100', value: Math.round((total / ms) * 1000), unit: 'rows/s' },
  ];

  async function loop(): Promise<void> {
    for (;;) {
      const { rows } = await pool.query<{ id: number }>(claim);
      if (rows.length === 0) return;
      await pool.query(finish, [rows.map((row) => row.id)]);
    }
  }
}
