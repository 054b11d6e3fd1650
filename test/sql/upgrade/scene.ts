/** A database in the middle of its work: something in every state that can be left open, and in most that are final. */

import { createRegistry } from '../../../local/executors/registry.js';
import type { Database } from '../../../supabase/client/pg.js';
import drillExecutors from '../../drill/executors.js';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Claimed = { id: string; lease_epoch: number; mission_id: string };

/** `noop` and `drill` may be tried again after a crash, `drill_once` may not. */
export const registry = createRegistry([
  ...(await import('../../../local/executors/builtin.js')).builtins,
  ...drillExecutors,
]);

const patterns: Json[] = [
  {
    id: 'order',
    event_type: 'shop:order',
    where: '$.data.total > 10',
    template: {
      title: 'Order {{event.data.n}}',
      steps: [
        { key: 'pack', kind: 'noop', params: { echo: { box: '{{event.data.n}}' } } },
        { key: 'send', kind: 'noop', params: { echo: 'box {{steps.pack.result.echo.box}}' } },
      ],
    },
  },
  {
    id: 'alarm',
    event_type: 'shop:alarm',
    cooldown_minutes: 60,
    template: { title: 'Alarm', risk_level: 'critical', steps: [{ key: 'look', kind: 'noop' }] },
  },
];

const autoApprove = {
  enabled: true,
  allowed_step_kinds: ['noop', 'drill', 'drill_once'],
  max_risk_level: 'medium',
};

/** Fills a migrated database that has no policies. Everything is done by the engine's own functions. */
export async function playScene(database: Database): Promise<void> {
  const { port, pool } = database;
  await port.registerWorker({
    ...{ name: 'gone', instance: '00000000-0000-4000-8000-000000000001', host: 'elsewhere', pid: 1 },
    executors: registry.registrations(),
  });
  await port.setPolicy({ key: 'reaction_matrix', value: { patterns } });
  await port.setPolicy({ key: 'auto_approve', value: autoApprove });
  await port.setPolicy({ key: 'worker_policy', value: { max_retries: 2, backoff: { base_seconds: 600 } } });
  const voting = { critical: { enabled: true, min_votes: 3 } };
  await port.setPolicy({ key: 'approvals', value: { voting } });
  await port.heartbeat({ source: 'sql' });
  await playMissions(database);
  await playProposals(database);
  await playEvents(database);
  await pool.query('select public.ops_radar_add($1)', [
    JSON.stringify([{ title: 'A wish', dedupe_key: 'wish' }]),
  ]);
}

type Play = (claimed: Claimed[]) => Promise<unknown>;

/** One mission per state; the title says which state its first step is left in. */
async function playMissions({ port, pool }: Database): Promise<void> {
  const mission = async (title: string, steps: Json[]): Promise<string> => {
    const { mission_id, reason } = await port.createProposal({ template: { title, steps } });
    if (mission_id === null) throw new Error(`${title} was not approved: ${reason}`);
    return mission_id;
  };
  const claim = (executor: string, leaseSeconds = 600) =>
    port.claimSteps({ worker: 'gone', executors: [executor], limit: 100, leaseSeconds });
  const complete: Play = (claimed) =>
    port.completeSteps({
      worker: 'gone',
      results: claimed.map((step) => ({ ...lease(step), result: { done: true } })),
    });
  const fail =
    (outcome: 'retryable' | 'permanent' | 'unknown'): Play =>
    (claimed) =>
      port.failSteps({
        worker: 'gone',
        failures: claimed.map((step) => ({ ...lease(step), outcome, error: 'it broke' })),
      });
  /** Each step is claimed by itself: nothing else is queued at that time. */
  const played = async (title: string, steps: Json[], play: Play, executor = 'noop', leaseSeconds = 600) => {
    const id = await mission(title, steps);
    await play(await claim(executor, leaseSeconds));
    return id;
  };
  const nothing: Play = async () => {};
  const pair = (kind: string): Json[] => [
    { key: 'first', kind },
    { key: 'second', kind },
  ];

  await played('succeeded', [{ key: 'first', kind: 'noop' }], complete);
  await played('scheduled after a failure', pair('noop'), fail('retryable'));
  await played('failed for good', pair('noop'), fail('permanent'));
  await played(
    'failed, and goes on',
    [
      { key: 'first', kind: 'drill', on_failure: 'continue' },
      { key: 'second', kind: 'drill' },
    ],
    fail('permanent'),
    'drill',
  );
  await port.pause({ scope: 'executor:drill', mode: 'drain', reason: 'upgrade' });
  await claim('drill');
  await played('unknown outcome', pair('drill_once'), fail('unknown'), 'drill_once');
  const requeued = await played('requeued', pair('noop'), fail('permanent'));
  const discarded = await played('discarded', pair('noop'), fail('permanent'));
  for (const letter of await port.listDeadLetters({ limit: 100 })) {
    if (letter.mission_id === discarded)
      await port.discardDeadLetter({ id: letter.id, reason: 'not worth it' });
    if (letter.mission_id === requeued) await port.requeueDeadLetter({ id: letter.id, reason: 'again' });
  }
  await complete((await claim('noop')).slice(0, 1));
  const cancelled = await played('cancelled while it ran', pair('noop'), nothing);
  await port.cancelMission({ id: cancelled, reason: 'upgrade' });
  await port.cancelMission({ id: await mission('cancelled before it ran', pair('noop')), reason: 'upgrade' });
  await played('running under a live lease', pair('noop'), nothing);
  await played('running under an expired lease', pair('noop'), nothing, 'noop', 0.001);
  await played(
    'running, not to be tried again',
    [
      { key: 'first', kind: 'drill_once', on_failure: 'continue' },
      { key: 'second', kind: 'noop' },
    ],
    nothing,
    'drill_once',
    0.001,
  );
  const { rows } = await pool.query('select count(*)::int as n from ops_mission_steps where status = $1', [
    'queued',
  ]);
  if (rows[0]?.n > 1) throw new Error('a step is queued that should have been claimed');
  await mission('queued and blocked', [
    { key: 'first', kind: 'noop' },
    { key: 'if', kind: 'noop', when: '$.steps.first.result.echo == 1' },
    { key: 'fan', kind: 'noop', depends_on: ['first'] },
    {
      key: 'join',
      kind: 'noop',
      depends_on: ['if', 'fan'],
      params: { echo: '{{steps.fan.result.attempt}}' },
    },
  ]);
  await mission('held by a switch', [
    { key: 'first', kind: 'drill', params: { before_ms: 1 } },
    { key: 'second', kind: 'noop' },
  ]);
  await claim('drill');
}

const lease = ({ id, lease_epoch }: Claimed) => ({ step_id: id, lease_epoch });

async function playProposals({ port, pool }: Database): Promise<void> {
  const propose = (title: string, more: { [key: string]: Json } = {}) =>
    port.createProposal({ template: { title, steps: [{ key: 'first', kind: 'noop' }], ...more } });
  const { id: rejected } = await propose('rejected', { risk_level: 'high' });
  await port.rejectProposal({ id: rejected, actor: 'operator', reason: 'no' });
  await propose('waits for a person', { risk_level: 'high' });
  const { id: voted } = await propose('is being voted on', { risk_level: 'critical' });
  await pool.query("select ops_cast_vote($1, 'sage', 'approve')", [voted]);
  await port.setPolicy({ key: 'proposal_caps', value: { daily_limit: 1 } });
  await propose('is held by a cap');
  await pool.query('insert into ops_mission_proposals (template) values ($1)', [
    { title: 'inserted by hand', steps: [{ key: 'first', kind: 'noop' }] },
  ]);
}

async function playEvents({ port, pool }: Database): Promise<void> {
  await port.emitEvent({ type: 'shop:alarm', data: { n: 1 } });
  await port.emitEvent({ type: 'nobody:cares', data: {} });
  // A whole beat would recover the leases that are to be found expired.
  await pool.query('select ops_decide_events(), ops_process_reactions()');
  await port.emitEvent({ type: 'shop:order', data: { n: 1, total: 11 }, dedupeKey: 'order-1' });
  await port.emitEvent({ type: 'shop:order', data: { n: 2, total: 1 }, dedupeKey: 'order-2' });
  await pool.query('select ops_decide_events()');
  await port.emitEvent({ type: 'shop:order', data: { n: 3, total: 30 }, dedupeKey: 'order-3' });
  await port.emitEvent({ type: 'shop:alarm', data: { n: 2 } });
  await port.emitEvent({ type: 'nobody:cares', data: { text: 'Grüße, 世界' } });
}
