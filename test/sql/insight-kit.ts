/** The database, the clock and the verbs that the tests of why, trace, status and health share. */
import { afterAll, beforeAll, beforeEach } from 'vitest';
import type { OpenDatabase } from '../../local/database.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { openAdapter } from '../support/adapter.js';
import { setClock } from '../support/clock.js';
import { useDatabase } from '../support/database.js';

export const database = useDatabase();
export let client: OpenDatabase;
export let port: OpsPort;
beforeAll(async () => {
  client = await openAdapter(database);
  port = client.port;
});
afterAll(() => client.close());

export const noon = '2026-03-04T12:00:00Z';
export const emptied = ['agent_events', 'event_decisions', 'agent_reactions', 'mission_proposals', 'missions']
  .concat(['mission_steps', 'action_runs', 'step_dead_letters', 'heartbeats', 'limits', 'workers'])
  .map((table) => `public.ops_${table}`);

beforeEach(async () => {
  await setClock(database.sql, { at: noon });
  await database.sql(`truncate ${emptied.join(', ')}`);
  const policies = {
    reaction_matrix: { patterns: [] },
    auto_approve: { enabled: true, allowed_step_kinds: ['noop'], max_risk_level: 'low' },
    proposal_caps: {},
    worker_policy: { max_retries: 3 },
    switches: {},
    loop_limits: {},
  };
  for (const [key, value] of Object.entries(policies)) await port.setPolicy({ key, value });
});

export type Steps = Record<string, unknown>[];
export const template = (title: string, steps: Steps = [{ kind: 'noop' }]) => ({ title, steps });
export const pattern = (id: string, rest: Record<string, unknown>) => ({
  id,
  template: template(id),
  ...rest,
});
export const setMatrix = (...patterns: Record<string, unknown>[]) =>
  port.setPolicy({ key: 'reaction_matrix', value: JSON.parse(JSON.stringify({ patterns })) });
export const emit = async (type: string, data: Record<string, unknown> = {}) =>
  (await port.emitEvent({ type, data: JSON.parse(JSON.stringify(data)) })).id;
export const beat = () => database.sql('select public.ops_heartbeat()');

export async function sayings(id: string): Promise<string> {
  return (await port.why({ id })).sentences.join('\n');
}

export type Verdict = { pattern_id: string; outcome: string; clause: string | null; sentence: string };
export async function verdicts(id: string): Promise<Verdict[]> {
  return (await port.explainEvent({ id })).patterns as Verdict[];
}
export const short = (all: Verdict[]) => all.map((v) => [v.pattern_id, v.outcome, v.clause]);

export async function startWorker(name = 'worker-a', executors = ['noop']): Promise<void> {
  const values = [name, executors];
  await database.sql(
    `insert into public.ops_workers (name, instance, host, pid, executors, started_at, seen_at)
     values ($1, gen_random_uuid(), 'host', 1, $2, public.ops_clock(), public.ops_clock())
     on conflict (name) do update set seen_at = excluded.seen_at, executors = excluded.executors`,
    values,
  );
}

export async function propose(steps: Steps, title = 'a mission') {
  const proposal = await port.createProposal({
    template: JSON.parse(JSON.stringify(template(title, steps))),
  });
  const rows = await database.sql<{ id: string; key: string }>(
    'select id, key from public.ops_mission_steps where mission_id = $1 order by position',
    [proposal.mission_id],
  );
  return { ...proposal, mission: proposal.mission_id ?? 'none', steps: rows.map(({ id }) => id) };
}
export const claim = (limit = 1) => port.claimSteps({ worker: 'worker-a', executors: ['noop'], limit });
export async function fail(outcome: 'retryable' | 'permanent' | 'unknown', error = 'it broke') {
  const [step] = await claim();
  if (step === undefined) throw new Error('nothing to claim');
  const lease = { step_id: step.id, lease_epoch: step.lease_epoch };
  await port.failSteps({
    worker: 'worker-a',
    failures: [{ ...lease, outcome, error, error_class: 'Broken' }],
  });
}
export async function complete(limit = 1) {
  const steps = await claim(limit);
  const results = steps.map((s) => ({ step_id: s.id, lease_epoch: s.lease_epoch, result: { done: s.key } }));
  await port.completeSteps({ worker: 'worker-a', results });
}

export const everyClause = [
  pattern('fires', { event_type: 'a:b', where: '$.data.n > 5' }),
  pattern('where', { event_type: 'a:b', where: '$.data.n > 50' }),
  pattern('broken', { event_type: 'a:b', where: '$.data.n.keyvalue()' }),
  pattern('source', { event_type: 'a:*', source: ['github', 'stripe'] }),
  pattern('tags', { event_type: 'a:b', tags: ['x', 'y'] }),
  pattern('dice', { event_type: '*', probability: 0 }),
  pattern('cooling', { event_type: 'a:b', cooldown_minutes: 10 }),
  pattern('limited', { event_type: 'a:b', limit: { count: 1, per_minutes: 60 } }),
  pattern('unrendered', { event_type: 'a:b', template: template('{{event.data.nowhere}}') }),
  pattern('paused', { event_type: 'a:b' }),
  pattern('elsewhere', { event_type: ['b:c', 'd:*'] }),
  pattern('off', { event_type: 'a:b', enabled: false }),
];
