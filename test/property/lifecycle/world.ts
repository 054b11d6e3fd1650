/**
 * The system under test: one connection, one clock that moves only when told, ids and jitter that repeat. A program
 * that failed once fails again.
 */
import { type Database, openDatabase } from '../../../supabase/client/pg.js';
import type { OpsPort } from '../../../supabase/client/port.js';
import { setClock } from '../../support/clock.js';
import type { TestDatabase } from '../../support/database.js';
import type { Json, Snapshot } from './rows.js';
import { type Reading, readEverything, toSnapshot } from './snapshot.js';

export type World = {
  port: OpsPort;
  sql(text: string, values?: unknown[]): Promise<Record<string, unknown>[]>;
  /** The database's time in ms, as the next call will see it. */
  readonly now: number;
  /** Reads everything, then moves the clock on by a millisecond. */
  read(): Promise<Snapshot>;
  /** Moves the clock; also back. */
  advance(ms: number): Promise<void>;
  /** Lets the clock run from where it stands, or stops it. */
  run(on: boolean): Promise<void>;
  setPolicy(key: string, value: Json): Promise<unknown>;
  /** An empty loop with open policies, in the morning of a day on which nothing has happened yet. */
  reset(): Promise<Snapshot>;
  close(): Promise<void>;
};

const dayMs = 86_400_000;
/** Ahead of the real clock: what has a created_at in the past counts as a copy. */
const firstDay = Date.UTC(2031, 0, 1);

const tables = [
  'ops_agent_events',
  'ops_event_decisions',
  'ops_agent_reactions',
  'ops_mission_proposals',
  'ops_missions',
  'ops_mission_steps',
  'ops_action_runs',
  'ops_step_dead_letters',
  'ops_limits',
  'ops_heartbeats',
];

/** What every run starts from: everything of low and medium risk is approved, nothing is bounded. */
export const openPolicies: Record<string, Json> = {
  reaction_matrix: { patterns: [] },
  auto_approve: { enabled: true, allowed_step_kinds: ['noop', 'agent'], max_risk_level: 'medium' },
  proposal_caps: {},
  worker_policy: {},
  // They look at the clock and at what earlier runs have left.
  alerts: { enabled: false },
};

// Deleting a few rows is several times quicker than truncating their tables; the mark lets open rows go too.
const clean = `
  select set_config('ops.engine', 'on', true);
  ${tables.map((table) => `delete from ${table};`).join(' ')}
  delete from ops_policy where key in ('switches', 'loop_limits', 'approvals', 'budgets', 'retention');
  delete from ops_budgets;
  delete from ops_budget_settlements;
  -- Programs give these two any parameters: here they stand for any executor.
  update ops_executors set params_schema = null where params_schema is not null and name in ('agent', 'openclaw');
  alter sequence ops_test.ids restart;
  select setseed(0.5);
`;

// Ids that repeat, in no order of theirs. A server that does not let us redefine a function of its own keeps
// random ones: then a replay may differ where ids break a tie.
const repeatableIds = `
  create sequence if not exists ops_test.ids;
  grant usage on sequence ops_test.ids to public;
  do $$ begin
    create or replace function pg_catalog.gen_random_uuid() returns uuid language sql volatile
      as $f$ select overlay(overlay(md5(nextval('ops_test.ids')::text) placing '4' from 13) placing '8' from 17)::uuid $f$;
  exception when insufficient_privilege then null; end $$;
`;

export async function openWorld(db: TestDatabase): Promise<World> {
  const database: Database = openDatabase({ connectionString: db.url, max: 1, statement_timeout: 20_000 });
  const sql = async (text: string, values?: unknown[]) => (await database.pool.query(text, values)).rows;
  await setClock(db.sql, { at: new Date(firstDay) });
  await sql(repeatableIds);
  let now = firstDay;
  const advance = async (by: number) => {
    now += by;
    await sql('update ops_test.clock set fixed_at = $1', [new Date(now)]);
  };
  const run = async (on: boolean) => {
    const [row] = await sql(
      on
        ? 'update ops_test.clock set shift = fixed_at - clock_timestamp(), fixed_at = null returning fixed_at'
        : "update ops_test.clock set fixed_at = date_trunc('milliseconds', clock_timestamp() + shift) + interval '1 millisecond', shift = '0' returning fixed_at",
    );
    if (!on) now = Date.parse(String(row?.fixed_at));
  };
  const setPolicy = (key: string, value: Json) =>
    sql(
      `insert into ops_policy as p (key, value) values ($1, $2)
       on conflict (key) do update set value = excluded.value where p.value is distinct from excluded.value`,
      [key, JSON.stringify(value)],
    );
  const read = async () => {
    // Named, so that its plan is made once: planning takes longer than reading.
    const { rows } = await database.pool.query({ name: 'everything', text: readEverything });
    const [row] = rows as [Reading];
    now = Date.parse(row.next);
    return toSnapshot(row);
  };
  const reset = async () => {
    await sql(clean);
    // On to a new day, never back: what earlier runs left in the policies' history lies in the past.
    await advance(Math.ceil(now / dayMs + 2) * dayMs + dayMs / 3 - now);
    for (const [key, value] of Object.entries(openPolicies)) await setPolicy(key, value);
    return read();
  };
  return {
    port: database.port,
    sql,
    get now() {
      return now;
    },
    read,
    advance,
    run,
    setPolicy,
    reset,
    close: () => database.close(),
  };
}
