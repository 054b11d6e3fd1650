/** `ops_check_invariants` says nothing of a sound database, and names each violation that guards would not have let in. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { OpenDatabase } from '../../local/database.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { openAdapter } from '../support/adapter.js';
import { advanceClock, setClock } from '../support/clock.js';
import { useDatabase } from '../support/database.js';

const database = useDatabase();
let client: OpenDatabase;
let port: OpsPort;

type Steps = { key: string; kind: string; [more: string]: string | number | string[] }[];
const noop = (key: string, more: Record<string, string | number | string[]> = {}) => ({
  key,
  kind: 'noop',
  ...more,
});
const claim = (limit = 1) => port.claimSteps({ worker: 'worker-a', executors: ['noop'], limit });
const propose = (title: string, steps: Steps) => port.createProposal({ template: { title, steps } });
const heartbeat = () => database.sql('select public.ops_heartbeat()');

async function complete(): Promise<void> {
  const results = (await claim()).map((s) => ({ step_id: s.id, lease_epoch: s.lease_epoch, result: {} }));
  await port.completeSteps({ worker: 'worker-a', results });
}
async function fail(outcome: 'retryable' | 'permanent'): Promise<void> {
  const failures = (await claim()).map((s) => ({
    step_id: s.id,
    lease_epoch: s.lease_epoch,
    outcome,
    error: 'broke',
  }));
  await port.failSteps({ worker: 'worker-a', failures });
}

/** Every kind of row that the loop knows: fired, suppressed, waiting, retried, crashed, failed, revived, cancelled. */
async function liveThroughADay(): Promise<void> {
  await setClock(database.sql, { at: '2026-03-04T08:00:00Z' });
  const one = { title: 'one', steps: [noop('a'), noop('b')] };
  await port.setPolicy({
    key: 'reaction_matrix',
    value: {
      patterns: [
        { id: 'fires', event_type: 'a:b', template: one },
        {
          id: 'rests',
          event_type: 'a:b',
          cooldown_minutes: 60,
          limit: { count: 5, per_minutes: 60 },
          template: one,
        },
        { id: 'asks', event_type: 'a:b', template: { ...one, risk_level: 'high' } },
      ],
    },
  });
  await port.setPolicy({
    key: 'auto_approve',
    value: { enabled: true, allowed_step_kinds: ['noop'], max_risk_level: 'low', daily_limit: 50 },
  });
  await port.setPolicy({
    key: 'proposal_caps',
    value: { daily_limit: 12, hourly_limit: 12, per_source: { reaction: 8 }, per_pattern: 4 },
  });
  await port.setPolicy({
    key: 'worker_policy',
    value: { executors: { noop: { max_running: 2, rate: { count: 100, per_minutes: 60 } } } },
  });
  for (const n of [1, 2]) await port.emitEvent({ type: 'a:b', data: { n } });
  await heartbeat();
  // A priority below all others makes a step the next to be claimed, whatever else is queued.
  const next = { priority: -9 };
  await propose('done', [noop('a', next)]);
  await complete();
  await propose('crashed', [noop('a', next), noop('b')]);
  await claim();
  await advanceClock(database.sql, '10 minutes');
  await heartbeat();
  await fail('permanent');
  const cancelled = await propose('cancelled', [noop('a'), noop('b')]);
  await port.cancelMission({ id: cancelled.mission_id ?? '' });
  const revived = await propose('revived', [
    noop('a', { ...next, on_failure: 'continue', max_retries: 1 }),
    noop('b', next),
    noop('c'),
  ]);
  await fail('retryable');
  await fail('permanent');
  await port.retryMission({ id: revived.mission_id ?? '' });
  await fail('permanent');
  await port.pause({ scope: `mission:${revived.mission_id}` });
  await claim();
  await propose('tried once', [noop('a', next)]);
  await fail('retryable');
  const [waiting, other] = await port.listProposals({ status: 'pending' });
  await port.radarAdd({ signals: [{ title: 'a wish' }] });
  await port.approveProposal({ id: waiting?.id ?? '' });
  await port.rejectProposal({ id: other?.id ?? '' });
  await propose('held', [noop('a'), noop('b')]);
}

beforeAll(async () => {
  client = await openAdapter(database);
  port = client.port;
  await liveThroughADay();
});
afterAll(() => client.close());

/** What is found after some statements that no guard could stop; everything is rolled back. */
async function violations(...statements: string[]): Promise<string[]> {
  return (await lookAt(statements)).whole;
}

/** The same, by the whole check, by the cheap one, and by what health says. */
async function lookAt(
  statements: string[],
): Promise<{ whole: string[]; cheap: string[]; health: { status: string; violations: string[] } }> {
  const session = await database.pool.connect();
  try {
    await session.query(
      `begin; set local session_replication_role = replica; select set_config('ops.engine', 'on', true)`,
    );
    for (const statement of statements) {
      const { rowCount } = await session.query(statement);
      if (rowCount === 0) throw new Error(`nothing to spoil: ${statement}`);
    }
    const { rows } = await session.query(
      `select array(select distinct invariant from public.ops_check_invariants() order by 1) as whole,
         array(select distinct invariant from public.ops_check_invariants(p_cheap => true) order by 1) as cheap, public.ops_health() as health`,
    );
    return rows[0];
  } finally {
    await session.query('rollback');
    session.release();
  }
}

const one = (table: string, where: string) =>
  `(select id from public.${table} where ${where} order by id limit 1)`;
const queuedStep = one('ops_mission_steps', "status = 'queued'");
const succeededStep = one('ops_mission_steps', "status = 'succeeded'");
const failedStep = one('ops_mission_steps', "status = 'failed'");
const drop = (table: string, constraint: string) =>
  `alter table public.${table} drop constraint ${constraint}`;
const attempt = (epoch: number, status: string, from: string, to: string) =>
  `insert into public.ops_action_runs (run_id, step_id, executor, worker_id, status, started_at, completed_at)
   select s.id || ':' || ${epoch}, s.id, 'noop', 'worker-b', '${status}', ${from}, ${to} from public.ops_mission_steps s where s.id = ${succeededStep}`;
const now = 'public.ops_clock()';

const spoiled: [invariant: string, ...statements: string[]][] = [
  [
    'event_closed_without_outcome',
    drop('ops_agent_events', 'ops_agent_events_closed_has_outcome'),
    `update public.ops_agent_events set outcome = null where type = 'step:noop:succeeded'`,
  ],
  [
    'event_open_with_outcome',
    `update public.ops_agent_events set processed_at = null where type = 'step:noop:succeeded'`,
  ],
  [
    'fired_event_without_reaction',
    `update public.ops_agent_events set outcome = 'fired' where type = 'step:noop:succeeded'`,
  ],
  [
    'fired_decision_without_reaction',
    `insert into public.ops_event_decisions (event_id, pattern_id, revision, outcome, decided_at) values (gen_random_uuid(), 'p', 1, 'fired', ${now})`,
  ],
  [
    'reaction_left_processing',
    `insert into public.ops_agent_reactions (event_id, pattern_id, status) values (gen_random_uuid(), 'p', 'processing')`,
  ],
  [
    'reaction_done_without_proposal',
    `insert into public.ops_agent_reactions (event_id, pattern_id, status) values (gen_random_uuid(), 'p', 'done')`,
  ],
  [
    'reaction_done_without_proposal',
    `insert into public.ops_agent_reactions (event_id, pattern_id, status, proposal_id) values (gen_random_uuid(), 'p', 'done', gen_random_uuid())`,
  ],
  ['depth_over_limit', `update public.ops_missions set depth = 8 where status = 'cancelled'`],
  [
    'two_proposals_for_one_reaction',
    `insert into public.ops_mission_proposals (source, event_id, pattern_id, template) select source, event_id, pattern_id, template from public.ops_mission_proposals where status = 'rejected'`,
  ],
  [
    'approved_without_one_mission',
    `update public.ops_mission_proposals set status = 'approved', approved_at = ${now} where status = 'rejected'`,
  ],
  [
    'mission_without_approval',
    `update public.ops_mission_proposals set status = 'expired' where title = 'cancelled'`,
  ],
  [
    'mission_status_not_function_of_steps',
    `update public.ops_missions set status = 'succeeded' where status = 'cancelled'`,
  ],
  [
    'mission_status_not_function_of_steps',
    `update public.ops_missions set open_steps = open_steps + 1 where completed_at is null`,
  ],
  [
    'mission_status_not_function_of_steps',
    `update public.ops_missions set failed_steps = 0 where status = 'failed'`,
  ],
  [
    'mission_status_not_function_of_steps',
    `update public.ops_missions set status = 'succeeded', completed_at = ${now} where title = 'held'`,
  ],
  [
    'mission_status_not_function_of_steps',
    `delete from public.ops_mission_steps where mission_id = ${one('ops_missions', "title = 'held'")}`,
  ],
  [
    'running_without_lease',
    drop('ops_mission_steps', 'ops_mission_steps_running_is_leased'),
    `update public.ops_mission_steps set lease_expires_at = null where status = 'running'`,
  ],
  ['open_step_without_mission', `delete from public.ops_missions where title = 'held'`],
  ['running_without_attempt', `delete from public.ops_action_runs where status = 'started'`],
  [
    'lease_without_running',
    `update public.ops_mission_steps set lease_expires_at = ${now} where id = ${queuedStep}`,
  ],
  [
    'wait_reason_without_scheduled',
    drop('ops_mission_steps', 'ops_mission_steps_wait_reason'),
    `update public.ops_mission_steps set wait_reason = 'switch:all' where id = ${succeededStep}`,
    `insert into public.ops_policy (key, value) values ('switches', '{"scopes":{"all":{"mode":"drain"}}}') on conflict (key) do update set value = excluded.value`,
    `update public.ops_policy_history h set value = p.value from public.ops_policy p where p.key = 'switches' and h.key = p.key and h.version = p.version`,
  ],
  [
    'success_without_attempt',
    `update public.ops_action_runs set status = 'failed' where status = 'succeeded'`,
  ],
  [
    'success_not_kept',
    `update public.ops_action_runs r set status = 'succeeded' from public.ops_mission_steps s where s.id = ${failedStep} and r.run_id = s.id || ':' || s.lease_epoch`,
  ],
  [
    'skipped_for_no_cause',
    `update public.ops_mission_steps set skipped_for = ${succeededStep} where id = ${one('ops_mission_steps', "status = 'skipped'")}`,
  ],
  [
    'blocked_behind_ended_steps',
    `update public.ops_mission_steps set needs = array[${succeededStep}] where status = 'blocked'`,
  ],
  [
    'pending_needs_wrong',
    `update public.ops_mission_steps set pending_needs = pending_needs + 1 where status = 'blocked'`,
  ],
  [
    'overlapping_leases',
    attempt(99, 'failed', `${now} - interval '1 day'`, now),
    `update public.ops_mission_steps set lease_epoch = 99 where id = ${succeededStep}`,
  ],
  [
    'two_successes_for_one_step',
    attempt(99, 'succeeded', now, now),
    `update public.ops_mission_steps set lease_epoch = 99 where id = ${succeededStep}`,
  ],
  ['epoch_reused', `update public.ops_mission_steps set lease_epoch = 0 where id = ${failedStep}`],
  ['epoch_reused', attempt(99, 'failed', now, now)],
  [
    'attempt_left_started',
    attempt(99, 'started', now, 'null'),
    `update public.ops_mission_steps set lease_epoch = 99 where id = ${succeededStep}`,
  ],
  [
    'attempt_end_contradicts_status',
    `update public.ops_action_runs set completed_at = null where status = 'failed'`,
  ],
  ['failed_step_without_dead_letter', 'delete from public.ops_step_dead_letters'],
  [
    'dead_letter_without_failed_step',
    `update public.ops_step_dead_letters set state = 'open', resolved_at = null where state = 'requeued'`,
  ],
  [
    'requeued_dead_letter_of_failed_step',
    `update public.ops_step_dead_letters set state = 'requeued', resolved_at = ${now} where state = 'open'`,
  ],
  [
    'held_without_cause',
    `update public.ops_mission_steps set status = 'scheduled', wait_reason = 'switch:dispatch', updated_at = ${now} - interval '16 minutes' where id = ${queuedStep}`,
  ],
  [
    'held_without_cause',
    `update public.ops_mission_steps set status = 'scheduled', wait_reason = 'policy:executor:noop', updated_at = ${now} - interval '16 minutes' where id = ${queuedStep}`,
  ],
  [
    'caps_exceeded',
    `insert into public.ops_mission_proposals (source, status, template, gated_at, policy_snapshot) select 'api', 'pending', p.template, p.gated_at, p.policy_snapshot from public.ops_mission_proposals p, generate_series(1, 9) where p.title = 'held'`,
  ],
  [
    'max_running_exceeded',
    `update public.ops_mission_steps set reserved_at = ${now}, lease_expires_at = 'infinity' where status = 'running'`,
    `update public.ops_policy set value = '{"executors":{"noop":{"max_running":0}}}' where key = 'worker_policy'`,
  ],
  [
    'rate_exceeded',
    `update public.ops_limits set used = 101, window_start = ${now} where key = 'executor:noop'`,
  ],
  [
    'pattern_limit_exceeded',
    `update public.ops_limits set used = 6, window_start = ${now} where key like 'limit:rests:%'`,
  ],
  [
    'policy_not_in_history',
    `update public.ops_policy set value = '{"daily_limit":1000}' where key = 'proposal_caps'`,
  ],
  [
    'budget_reserve_adrift',
    `insert into public.ops_budgets (key, budget, unit, cap, starts_at, ends_at, reserved) values ('global:usd:day:2026-03-04', 'global:usd:day', 'usd', 10, ${now}, ${now}, 4)`,
  ],
  ['evidence_beyond_mentions', `update public.ops_demand_radar set mentions = 0`],
  ['merged_signal_open', `update public.ops_demand_radar set merged_into = gen_random_uuid()`],
  ['patterns_not_compiled', `update public.ops_policy_patterns set types = '{nothing}'`],
  ['patterns_not_compiled', `delete from public.ops_policy_patterns`],
];

/** Those that health looks at each time, on what is open. */
const quick: typeof spoiled = [
  [
    'event_open_with_outcome',
    `update public.ops_agent_events set processed_at = null where type = 'step:noop:succeeded'`,
  ],
  ['running_without_attempt', `delete from public.ops_action_runs where status = 'started'`],
  [
    'mission_status_not_function_of_steps',
    `update public.ops_missions set status = 'succeeded', completed_at = ${now} where title = 'held'`,
  ],
  [
    'blocked_behind_ended_steps',
    `update public.ops_mission_steps set needs = array[${succeededStep}] where status = 'blocked'`,
  ],
  [
    'mission_without_approval',
    `update public.ops_mission_proposals set status = 'pending' where title = 'held'`,
  ],
  [
    'dead_letter_without_failed_step',
    `update public.ops_step_dead_letters set state = 'open', resolved_at = null where state = 'requeued'`,
  ],
  [
    'max_running_exceeded',
    `update public.ops_mission_steps set reserved_at = ${now}, lease_expires_at = 'infinity' where status = 'running'`,
    `update public.ops_policy set value = '{"executors":{"noop":{"max_running":0}}}' where key = 'worker_policy'`,
  ],
  [
    'policy_not_in_history',
    `update public.ops_policy set value = '{"daily_limit":1000}' where key = 'proposal_caps'`,
  ],
  ['patterns_not_compiled', `update public.ops_policy_patterns set revision = 0`],
];

describe('the invariants', () => {
  it('hold after a day that saw every kind of row', async () => {
    expect(await port.checkInvariants()).toEqual([]);
    const seen = await database.one<Record<string, string[]>>(
      `select array(select distinct status from public.ops_mission_steps order by 1) as steps,
         array(select distinct status from public.ops_missions order by 1) as missions,
         array(select distinct status from public.ops_mission_proposals order by 1) as proposals,
         array(select distinct status from public.ops_action_runs order by 1) as attempts`,
    );
    expect(seen).toEqual({
      steps: ['blocked', 'cancelled', 'failed', 'queued', 'running', 'scheduled', 'skipped', 'succeeded'],
      missions: ['approved', 'cancelled', 'failed', 'running', 'succeeded'],
      proposals: ['approved', 'auto_approved', 'rejected'],
      attempts: ['crashed', 'failed', 'started', 'succeeded'],
    });
  });

  it.each(spoiled)('find %s', async (invariant, ...statements) => {
    expect(await violations(...statements)).toContain(invariant);
  });

  it('are each shown to fire', async () => {
    const { source } = await database.one<{ source: string }>(
      `select string_agg(prosrc, ' ') as source from pg_proc where proname ~ '^ops_check_(events|proposals|missions|steps|needs|attempts|leases|dead_letters|holds|caps|bounds|budgets|radar|policies)$'`,
    );
    const named = [...source.matchAll(/(?:select|then|else) '([a-z]+(?:_[a-z]+)+)'/g)].map(
      ([, name]) => name,
    );
    expect(new Set(named)).toEqual(new Set(spoiled.map(([name]) => name)));
  });

  it.each(quick)('find %s at a glance as well, and health names it', async (invariant, ...statements) => {
    const { whole, cheap, health } = await lookAt(statements);
    expect(cheap).toContain(invariant);
    expect(whole).toEqual(expect.arrayContaining(cheap));
    expect(health).toMatchObject({ status: 'unhealthy', violations: cheap });
  });

  it('at a glance are each shown to fire', async () => {
    const { source } = await database.one<{ source: string }>(
      "select string_agg(prosrc, ' ') as source from pg_proc where proname in ('ops_check_open', 'ops_check_policies')",
    );
    const named = [...source.matchAll(/select (?:distinct )?'([a-z]+(?:_[a-z]+)+)'/g)].map(
      ([, name]) => name,
    );
    expect(new Set(named)).toEqual(new Set(quick.map(([name]) => name)));
  });

  it('let finished missions stand without their steps, and old rows be gone', async () => {
    expect(
      await violations(
        `delete from public.ops_mission_steps s using public.ops_missions m where m.id = s.mission_id and m.completed_at is not null`,
        `update public.ops_agent_reactions set updated_at = ${now} - interval '1 year'`,
        `delete from public.ops_mission_proposals where status = 'rejected'`,
      ),
    ).toEqual([]);
  });

  it('answer at most 1,000 rows', async () => {
    const rows = await violations(
      `insert into public.ops_agent_reactions (event_id, pattern_id, status) select gen_random_uuid(), 'p', 'processing' from generate_series(1, 3000)`,
    );
    expect(rows).toEqual(['reaction_left_processing']);
  });
});
