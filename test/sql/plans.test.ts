/**
 * What the statements of the hot path may read, held by counting shared buffers: a plan that turns into a scan of what
 * is finished, due later or somebody else's is seen here before an operator sees it. 200,000 finished rows in the
 * suite; `npm run test:plans` does the same at a million.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';

const database = useDatabase();
const rows = Number(process.env.OPS_TEST_ROWS ?? 200_000);
/** One statement of the filling; each has to end within the test connections' statement timeout. */
const chunk = 200_000;
/** Steps of one call, and events of one batch. */
const batch = 50;

/** Buffers a row that one call of `batch` may touch: the claim's by contract, the others about 1.5 times what they take. */
const budgets: Record<string, { sql: string; perRow: number }> = {
  'picking steps': {
    sql: `select public.ops_pick_steps(array['noop'], array[${batch}], ${batch}, '{}')`,
    perRow: 4,
  },
  'a claim': { sql: `select * from public.ops_claim_steps('w', array['noop'], ${batch}, 60)`, perRow: 40 },
  'a renewal': {
    sql: `select * from public.ops_renew_leases('mine', $leases, 60)`,
    perRow: 30,
  },
  'a completion': {
    sql: `select * from public.ops_complete_steps('mine', $leases)`,
    perRow: 80,
  },
  'a batch of decisions': { sql: `select public.ops_decide_events(${batch})`, perRow: 50 },
  'a recovery of expired leases': { sql: `select public.ops_recover_expired_leases(${batch})`, perRow: 80 },
};

/** Of the steps that worker `mine` holds, with a result each; stands in for `$leases`. */
const leases = `select jsonb_agg(jsonb_build_object('step_id', s.id, 'lease_epoch', s.lease_epoch, 'result', 1))::text as list
  from public.ops_mission_steps s where s.status = 'running' and s.worker_id = 'mine'`;

/** What is open when the table is small, and still when it is large. */
const scene = [
  `select public.ops_set_policy('auto_approve', '{"enabled": true, "allowed_step_kinds": ["noop"], "max_risk_level": "medium"}')`,
  `select public.ops_set_policy('reaction_matrix', jsonb_build_object('patterns', (select jsonb_agg(jsonb_build_object(
     'id', 'p' || i, 'event_type', 'plan:type_' || i, 'where', '$.data.level > 5',
     'template', '{"title": "t", "steps": [{"kind": "noop"}]}'::jsonb)) from generate_series(1, 50) i)))`,
  `select count(*) from public.ops_create_proposals((select jsonb_agg(
     '{"template": {"title": "plans", "steps": [{"kind": "noop"}]}}'::jsonb) from generate_series(1, ${6 * batch})))`,
  `select count(*) from public.ops_claim_steps('mine', array['noop'], ${batch}, 3600)`,
  `select count(*) from public.ops_claim_steps('gone', array['noop'], ${batch}, 3600)`,
  `update public.ops_mission_steps set lease_expires_at = now() - interval '1 minute' where worker_id = 'gone'`,
  `select count(*) from public.ops_emit_events((select jsonb_agg(jsonb_build_object('type', 'plan:type_' || i,
     'data', jsonb_build_object('level', i))) from generate_series(1, ${batch}) i))`,
];

/** Ids by number: uuids of version 7 whose time is long past, as those of old rows are. */
const idOf = (table: number, number: string): string =>
  `('${table}0000000-0000-7000-8000-' || lpad((${number})::text, 12, '0'))::uuid`;
const missionId = idOf(1, 'i / 4 * 4');

/** Finished missions with their steps, attempts and events; a tenth is due tomorrow, a tenth of another executor. */
const crowd = [
  `insert into public.ops_missions (id, proposal_id, title, status, completed_at, created_at)
   select ${missionId}, ${idOf(3, 'i')}, 'old', 'succeeded', now(), now() - interval '1 day'
   from generate_series($1::int, $2::int) i where i % 4 = 0`,
  `insert into public.ops_mission_steps (id, mission_id, key, kind, executor, status, ready_at, reserved_at, created_at)
   select ${idOf(2, 'i')}, ${missionId}, 'k' || i, 'noop', case when i % 11 = 0 then 'other' else 'noop' end,
     case i % 11 when 0 then 'queued' when 1 then 'scheduled' else 'succeeded' end,
     case when i % 11 = 1 then now() + interval '1 day' + i * interval '1 ms' else now() - interval '1 day' end,
     case when i % 11 > 1 then now() end, now() - interval '1 day'
   from generate_series($1::int, $2::int) i`,
  `insert into public.ops_action_runs (run_id, id, step_id, mission_id, executor, worker_id, status, started_at, completed_at)
   select ${idOf(2, 'i')}::text || ':1', ${idOf(4, 'i')}, ${idOf(2, 'i')}, ${missionId}, 'noop', 'w', 'succeeded', now(), now()
   from generate_series($1::int, $2::int) i where i % 11 > 1`,
  `insert into public.ops_agent_events (id, type, source, trust, mission_id, outcome, decided_at, processed_at, created_at)
   select ${idOf(5, 'i')}, 'step:noop:succeeded', 'ops-loop', 'loop', ${missionId}, 'unmatched', now(), now(), now() - interval '1 day'
   from generate_series($1::int, $2::int) i`,
];

/**
 * Shared buffers of one statement, taken back. The least of three looks: the first of a connection reads the catalog too,
 * and so does one after much was changed elsewhere on the server.
 */
async function buffers(sql: string): Promise<number> {
  const client = await database.connect();
  const touched: number[] = [];
  for (let look = 0; look < 3; look++) {
    await client.query('begin');
    const { rows } = await client.query(`explain (analyze, buffers, timing off, format json) ${sql}`);
    await client.query('rollback');
    const plan = rows[0]['QUERY PLAN'][0].Plan;
    touched.push(plan['Shared Hit Blocks'] + plan['Shared Read Blocks']);
  }
  await client.end();
  return Math.min(...touched);
}

async function costs(): Promise<Record<string, number>> {
  await database.sql('vacuum analyze');
  const { list } = await database.one<{ list: string }>(leases);
  const all: Record<string, number> = {};
  for (const [name, { sql }] of Object.entries(budgets))
    all[name] = (await buffers(sql.replace('$leases', () => `'${list}'`))) / batch;
  return all;
}

async function asEngine(statements: string[], values: unknown[] = []): Promise<void> {
  const client = await database.connect();
  await client.query(`set ops.engine = 'on'`);
  for (const sql of statements) await client.query(sql, values);
  await client.end();
}

describe(`beside ${rows.toLocaleString('en')} finished rows`, () => {
  let small: Record<string, number> = {};
  let large: Record<string, number> = {};

  beforeAll(async () => {
    await asEngine(scene);
    small = await costs();
    for (let from = 1; from <= rows; from += chunk)
      await asEngine(crowd, [from, Math.min(rows, from + chunk - 1)]);
    large = await costs();
  }, 120_000);

  test('the tables are as full as they are said to be', async () => {
    const { n } = await database.one<{ n: string }>('select count(*) as n from ops_mission_steps');
    expect(Number(n)).toBe(rows + 6 * batch);
  });

  test.each(Object.entries(budgets))('%s stays within its budget of buffers', (name, { perRow }) => {
    expect(large[name]).toBeGreaterThan(0);
    expect(large[name]).toBeLessThanOrEqual(perRow);
  });

  test.each(Object.keys(budgets))('%s costs about what it costs in a small table', (name) => {
    // An index of a million rows is a level or two higher than one of a hundred; a scan would be hundreds of times as much.
    expect(large[name]).toBeLessThanOrEqual((small[name] ?? 0) * 2 + 1);
  });
});
