/** Rows that a claim must not look at, made in bulk: copies of a step, which the guards let in by their age. */
import type { Pool } from 'pg';

/** How many steps to add, and what they are: finished, due tomorrow, or queued (for an executor that nobody asks for). */
export type Crowd = { finished?: number; scheduled?: number; queued?: number; queuedFor?: string };

const insert = `
  insert into public.ops_mission_steps (mission_id, key, kind, executor, status, ready_at, reserved_at, created_at, updated_at)
  select m.id, 'copy_' || i, 'noop',
    case when i > $1::int + $2::int then $5 else 'noop' end,
    case when i <= $1::int then 'succeeded' when i <= $1::int + $2::int then 'scheduled' else 'queued' end,
    case when i <= $1::int then now() - interval '1 hour' when i <= $1::int + $2::int then now() + interval '1 day' + i * interval '1 ms'
      else now() - interval '1 hour' end,
    case when i <= $1::int then now() - interval '1 hour' end, now() - interval '1 hour', now() - interval '1 hour'
  from (select id from public.ops_missions where title = $4 order by id limit 1) m, generate_series(1, $1::int + $2::int + $3::int) i`;

/** Adds them to the first mission of this title. */
export async function addCrowd(pool: Pool, title: string, crowd: Crowd): Promise<void> {
  const { finished = 0, scheduled = 0, queued = 0, queuedFor = 'other' } = crowd;
  await pool.query(insert, [finished, scheduled, queued, title, queuedFor]);
}
