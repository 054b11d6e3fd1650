/** The benchmark in somebody's database: it refuses one that is in use, and takes out again what it put in. */
import type { Pool } from 'pg';
import { OpsError } from '../../supabase/client/errors.js';
import type { Database } from '../../supabase/client/pg.js';
import { mark } from './room.js';

/** Rows of anybody else, and policies that anybody else has changed since they were seeded. */
const foreign = `
  select 'events' as what where exists (select from public.ops_agent_events)
  union all select 'proposals' where exists (select from public.ops_mission_proposals)
  union all select 'missions' where exists (select from public.ops_missions)
  union all select 'changed policies' where exists (
    select from public.ops_policy_history h where h.operation <> 'insert' and h.reason is distinct from $1)`;

/** Throws `OPS_015`: what runs beside it would be slowed down, and its figures would not be the engine's own. */
export async function refuseForeign(pool: Pool, anyway: boolean): Promise<void> {
  const { rows: schema } = await pool.query(
    `select to_regclass('public.ops_agent_events') is not null as here`,
  );
  if (anyway || schema[0]?.here !== true) return;
  const { rows } = await pool.query<{ what: string }>(foreign, [mark]);
  if (rows.length === 0) return;
  const held = rows.map(({ what }) => what).join(', ');
  throw new OpsError('OPS_015', `this database is in use: it has ${held}`, {
    hint: 'Name an empty database, leave --url out to measure on a throw-away one, or add --anyway.',
    detail: { held: rows.map(({ what }) => what) },
  });
}

const touched = ['auto_approve', 'reaction_matrix', 'alerts'] as const;

/** The history names whose doing it was, so that the next run knows. */
const forget = `with why as (select set_config('ops.reason', $2, true))
  delete from public.ops_policy p using why where p.key = $1`;

/** Remembers the policies that measures change, and silences alerts meanwhile; answers how to put them back. */
export async function keepPolicies(port: Database['port'], pool: Pool) {
  const { rows } = await pool.query<{ key: string }>(
    'select key from public.ops_policy where key = any ($1)',
    [touched],
  );
  const here = new Set(rows.map(({ key }) => key));
  const kept = await Promise.all(
    touched.map(async (key) => ({
      key,
      value: here.has(key) ? (await port.getPolicy({ key })).value : undefined,
    })),
  );
  await port.setPolicy({ key: 'alerts', value: { enabled: false }, reason: mark });
  return async (after: Database): Promise<void> => {
    for (const { key, value } of kept)
      if (value === undefined) await after.pool.query(forget, [key, mark]);
      else await after.port.setPolicy({ key, value, reason: mark });
  };
}

/** Everything of ours goes by its title or type; what follows from it goes with its mission. */
const removals = [
  'delete from public.ops_action_runs r using public.ops_missions m where m.id = r.mission_id and m.title = $1',
  'delete from public.ops_step_dead_letters d using public.ops_missions m where m.id = d.mission_id and m.title = $1',
  'delete from public.ops_mission_steps s using public.ops_missions m where m.id = s.mission_id and m.title = $1',
  'delete from public.ops_agent_events e using public.ops_missions m where m.id = e.mission_id and m.title = $1',
  "delete from public.ops_agent_reactions r using public.ops_agent_events e where e.id = r.event_id and (e.type like $1 || ':%' or e.source = $1)",
  "delete from public.ops_agent_events where type like $1 || ':%' or source = $1 or dedupe_key like 'github:' || $1 || '%'",
  'delete from public.ops_mission_proposals where title = $1',
  'delete from public.ops_missions where title = $1',
  'drop table if exists public.ops_loop_benchmark_bare',
];

/** Takes out what the benchmark made, in one transaction, marked as the engine's own write. */
export async function clean(pool: Pool): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    await client.query('select public.ops_engine_begin()');
    for (const sql of removals) await client.query(sql, sql.includes('$1') ? [mark] : []);
    await client.query('commit');
  } finally {
    client.release();
  }
}
