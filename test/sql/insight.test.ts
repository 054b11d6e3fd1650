/** Why, trace, status and health: what they say is what the engine did or will do, and they never write. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../supabase/client/pg.js';
import type { OpsPort } from '../../supabase/client/port.js';
import type { TraceNode } from '../../supabase/client/schemas/rows.js';
import { advanceClock, setClock } from '../support/clock.js';
import { useDatabase } from '../support/database.js';

const database = useDatabase();
let client: Database;
let port: OpsPort;
beforeAll(() => {
  client = openDatabase({ connectionString: database.url });
  port = client.port;
});
afterAll(() => client.close());

const noon = '2026-03-04T12:00:00Z';
const emptied = ['agent_events', 'event_decisions', 'agent_reactions', 'mission_proposals', 'missions']
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

type Steps = Record<string, unknown>[];
const template = (title: string, steps: Steps = [{ kind: 'noop' }]) => ({ title, steps });
const pattern = (id: string, rest: Record<string, unknown>) => ({ id, template: template(id), ...rest });
const setMatrix = (...patterns: Record<string, unknown>[]) =>
  port.setPolicy({ key: 'reaction_matrix', value: JSON.parse(JSON.stringify({ patterns })) });
const emit = async (type: string, data: Record<string, unknown> = {}) =>
  (await port.emitEvent({ type, data: JSON.parse(JSON.stringify(data)) })).id;
const beat = () => database.sql('select public.ops_heartbeat()');

async function sayings(id: string): Promise<string> {
  return (await port.why({ id })).sentences.join('\n');
}

type Verdict = { pattern_id: string; outcome: string; clause: string | null; sentence: string };
async function verdicts(id: string): Promise<Verdict[]> {
  return (await port.explainEvent({ id })).patterns as Verdict[];
}
const short = (all: Verdict[]) => all.map((v) => [v.pattern_id, v.outcome, v.clause]);

async function startWorker(name = 'worker-a', executors = ['noop']): Promise<void> {
  const values = [name, executors];
  await database.sql(
    `insert into public.ops_workers (name, instance, host, pid, executors, started_at, seen_at)
     values ($1, gen_random_uuid(), 'host', 1, $2, public.ops_clock(), public.ops_clock())
     on conflict (name) do update set seen_at = excluded.seen_at, executors = excluded.executors`,
    values,
  );
}

async function propose(steps: Steps, title = 'a mission') {
  const proposal = await port.createProposal({
    template: JSON.parse(JSON.stringify(template(title, steps))),
  });
  const rows = await database.sql<{ id: string; key: string }>(
    'select id, key from public.ops_mission_steps where mission_id = $1 order by position',
    [proposal.mission_id],
  );
  return { ...proposal, mission: proposal.mission_id ?? 'none', steps: rows.map(({ id }) => id) };
}
const claim = (limit = 1) => port.claimSteps({ worker: 'worker-a', executors: ['noop'], limit });
async function fail(outcome: 'retryable' | 'permanent' | 'unknown', error = 'it broke') {
  const [step] = await claim();
  if (step === undefined) throw new Error('nothing to claim');
  const lease = { step_id: step.id, lease_epoch: step.lease_epoch };
  await port.failSteps({
    worker: 'worker-a',
    failures: [{ ...lease, outcome, error, error_class: 'Broken' }],
  });
}
async function complete(limit = 1) {
  const steps = await claim(limit);
  const results = steps.map((s) => ({ step_id: s.id, lease_epoch: s.lease_epoch, result: { done: s.key } }));
  await port.completeSteps({ worker: 'worker-a', results });
}

const everyClause = [
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

describe('an event', () => {
  it('is explained for every enabled pattern, and foretold as it is then decided', async () => {
    await setMatrix(...everyClause);
    await port.pause({ scope: 'pattern:paused' });
    await emit('a:b', { n: 7 });
    await beat();
    await advanceClock(database.sql, '3 minutes');
    const id = await emit('a:b', { n: 7, tags: ['y'] });
    const foretold = short(await verdicts(id));
    await beat();
    const decided = await verdicts(id);
    expect(short(decided)).toEqual(foretold);
    expect(short(decided)).toEqual([
      ['fires', 'fired', null],
      ['where', 'unmatched', 'where'],
      ['broken', 'unmatched', 'where'],
      ['source', 'unmatched', 'source'],
      ['tags', 'unmatched', 'tags'],
      ['dice', 'unmatched', 'probability'],
      ['cooling', 'suppressed', 'cooldown'],
      ['limited', 'suppressed', 'limit'],
      ['unrendered', 'failed', 'render'],
      ['paused', 'suppressed', 'switch'],
      ['elsewhere', 'unmatched', 'type'],
    ]);
  });

  it('gives the numbers of each clause, and what would change them', async () => {
    await setMatrix(...everyClause);
    await port.pause({ scope: 'pattern:paused' });
    await emit('a:b', { n: 7 });
    await beat();
    await advanceClock(database.sql, '3 minutes');
    const id = await emit('a:b', { n: 7, tags: ['y'] });
    await beat();
    const said = await sayings(id);
    expect(said).toMatch(
      /^Event a:b from manual was decided at 12:03:00 UTC under matrix revision \d+: fired \(1 of 11 patterns fired\)\.$/m,
    );
    expect(said).toMatch(/^Pattern fires fired: the proposal [0-9a-f-]{36} \(auto_approved\) came of it\.$/m);
    expect(said).toContain(
      'Pattern where did not fire: its condition `$.data.n > 50` was false (value false).',
    );
    expect(said).toContain(
      'Pattern broken did not fire: its condition `$.data.n.keyvalue()` could not be tested:',
    );
    expect(said).toContain('it takes source github, stripe, this event came from manual.');
    expect(said).toContain('it asks for the tags x, y, of which the event lacks x.');
    expect(said).toMatch(/Pattern dice did not fire: it rolled 0\.\d+, fires below 0\./);
    expect(said).toContain(
      'Pattern cooling did not fire: it is in cooldown until 12:10 UTC (7 minutes left);',
    );
    expect(said).toContain(
      'Pattern limited did not fire: its limit of 1 per 60 minutes is used up until 13:00 UTC (57 minutes left);',
    );
    expect(said).toContain(
      'Pattern unrendered failed: its template could not be rendered: $.title: event.data.nowhere is missing',
    );
    expect(said).toContain('its switch was at drain; `ops-loop resume pattern:paused` lifts it.');
    expect(said).toContain('1 pattern does not listen to a:b: elsewhere.');
    expect(said).toContain('Disabled, though listening to this type: off.');
  });

  it('is explained by the revision it was decided under, not by the one that followed', async () => {
    await setMatrix(pattern('old', { event_type: 'a:b', where: '$.data.n > 5' }));
    const id = await emit('a:b', { n: 1 });
    await beat();
    await setMatrix(pattern('new', { event_type: 'a:b' }));
    expect(short(await verdicts(id))).toEqual([['old', 'unmatched', 'where']]);
    expect(await sayings(id)).toContain('`$.data.n > 5` was false');
    await database.sql('update public.ops_agent_events set processed_at = null where id = $1', [id]);
    expect(short(await verdicts(id))).toEqual([['new', 'fired', null]]);
    await beat();
    expect(short(await verdicts(id))).toEqual([['new', 'fired', null]]);
  });

  it('keeps what fired before it was opened again', async () => {
    await setMatrix(pattern('old', { event_type: 'a:b' }));
    const id = await emit('a:b');
    await beat();
    await setMatrix(pattern('new', { event_type: 'a:b', where: '$.data.n > 5' }));
    await database.sql('update public.ops_agent_events set processed_at = null where id = $1', [id]);
    await beat();
    expect(short(await verdicts(id))).toEqual([
      ['new', 'unmatched', 'where'],
      ['old', 'fired', null],
    ]);
    expect(await sayings(id)).toMatch(/Pattern old fired under revision \d+: the proposal/);
  });

  it('says why it is still open: its turn, the last beat, the switch', async () => {
    await setMatrix(pattern('any', { event_type: 'a:b' }));
    await beat();
    await advanceClock(database.sql, '4 minutes');
    await emit('a:b');
    await advanceClock(database.sql, '1 second');
    const id = await emit('a:b');
    await advanceClock(database.sql, '119 seconds');
    expect(await sayings(id)).toContain(
      [
        'Event a:b from manual has been open for 2 minutes.',
        'It is decided at the next heartbeat; `ops-loop heartbeat` or `select ops_heartbeat()` runs one now.',
        'The last scheduled heartbeat ended 6 minutes ago.',
        'Open events ahead of it: 1.',
        'Pattern any will fire.',
      ].join('\n'),
    );
    await port.pause({ scope: 'heartbeat', reason: 'maintenance' });
    expect(await sayings(id)).toContain(
      'Deciding is paused by the switch heartbeat (drain); `ops-loop resume heartbeat` lifts it.',
    );
  });

  it('of the loop itself that nothing could match was closed as it arrived', async () => {
    await setMatrix(pattern('wild', { event_type: '*' }));
    await database.sql(`select public.ops_raise_event('step:noop:succeeded', '{}')`);
    const { id } = await database.one<{ id: string }>(
      `select id from public.ops_agent_events where type like 'step:%'`,
    );
    expect(await sayings(id)).toContain("it is the loop's own and no enabled pattern could match it.");
    const [wild] = await verdicts(id);
    expect(wild?.sentence).toBe(
      "Pattern wild did not fire: it listens to *, and a glob led by a wildcard hears the loop's own events only with allow_system.",
    );
  });

  it('that could not be decided says with which error', async () => {
    await setMatrix(pattern('any', { event_type: 'a:b' }));
    const id = await emit('a:b');
    await database.sql(
      `update public.ops_agent_events set outcome = 'failed', failure_count = 1, last_error = 'out of luck',
       decided_at = public.ops_clock(), processed_at = public.ops_clock() where id = $1`,
      [id],
    );
    expect(short(await verdicts(id))).toEqual([['any', 'failed', 'error']]);
    const said = await sayings(id);
    expect(said).toContain('deciding it failed: out of luck.');
    expect(said).toContain(`update ops_agent_events set processed_at = null where id = '${id}'`);
  });

  it('foretells loop limits without raising their event', async () => {
    await setMatrix(pattern('again', { event_type: 'deep:one' }));
    const { id } = await database.one<{ id: string }>(
      `insert into public.ops_agent_events (type, depth, root_id, chain) values ('deep:one', 8, gen_random_uuid(), '{again}') returning id`,
    );
    const foretold = await verdicts(id);
    expect(foretold[0]?.sentence).toBe(
      'Pattern again would not fire: its chain is 8 missions deep, loop_limits.max_depth is 8.',
    );
    expect(await database.sql(`select from public.ops_agent_events where type = 'loop:suppressed'`)).toEqual(
      [],
    );
    await beat();
    expect(short(await verdicts(id))).toEqual(short(foretold));
  });
});

describe('a proposal', () => {
  it('that waits for a cap says which, with its numbers and when it turns', async () => {
    await port.setPolicy({ key: 'proposal_caps', value: { daily_limit: 2, max_pending: 5 } });
    for (const _ of [1, 2]) await propose([{ kind: 'noop' }]);
    const { id } = await propose([{ kind: 'noop' }], 'one too many');
    const explained = await port.explainProposal({ id });
    expect(explained.sentences.slice(0, 4)).toEqual([
      'Proposal "one too many" has not passed its gates: daily cap of 2 proposals is used up.',
      'It is gated again at 2026-03-05 00:00 UTC (12 hours left), or at the next heartbeat after proposal_caps or auto_approve change.',
      'proposal_caps.daily_limit: 2 of 2 proposals of today; the window turns at 2026-03-05 00:00 UTC (12 hours left).',
      "`update ops_policy set value = jsonb_set(value, '{daily_limit}', '3') where key = 'proposal_caps'` lets one more through.",
    ]);
    expect(explained.gates).toMatchObject([
      { gate: 'proposal_caps.daily_limit', used: 2, limit: 2, ok: false },
      { gate: 'proposal_caps.max_pending', used: 0, limit: 5, ok: true },
    ]);
    await database.sql(
      `update public.ops_policy set value = jsonb_set(value, '{daily_limit}', '3') where key = 'proposal_caps'`,
    );
    expect(await sayings(id)).toContain('It is gated at the next heartbeat');
    await beat();
    expect(await sayings(id)).toContain('was approved automatically at 12:00:00 UTC');
  });

  it('that waits for a person says which conditions failed, and the commands', async () => {
    await port.setPolicy({ key: 'approvals', value: { expires_minutes: 60 } });
    await port.setPolicy({
      key: 'auto_approve',
      value: { enabled: true, allowed_step_kinds: [], daily_limit: 3 },
    });
    const { id } = await propose([{ kind: 'noop' }], 'ask me');
    const explained = await port.explainProposal({ id });
    const said = explained.sentences.join('\n');
    expect(said).toContain('Proposal "ask me" (risk low) waits for a person since 12:00:00 UTC');
    expect(said).toContain('Not in auto_approve.allowed_step_kinds: noop.');
    expect(said).toContain('At 13:00 UTC (60 minutes left) it is expired unless somebody decides.');
    expect(said).toContain(
      `\`ops-loop approve ${id}\` or \`select ops_approve_proposal('${id}')\` starts it`,
    );
    const conditions = explained.approval as { condition: string; ok: boolean }[];
    expect(conditions.filter(({ ok }) => !ok).map(({ condition }) => condition)).toEqual([
      'auto_approve.allowed_step_kinds',
    ]);
    expect(conditions).toHaveLength(8);
    await port.approveProposal({ id, actor: 'ada', reason: 'looks right' });
    expect(await sayings(id)).toMatch(
      /was approved by ada at 12:00:00 UTC \(.*\): looks right\.\nIts mission [0-9a-f-]{36} is approved;/,
    );
  });
});

describe('a step', () => {
  it('that is blocked names the steps it waits for', async () => {
    const { steps } = await propose([
      { key: 'build', kind: 'noop' },
      { key: 'test', kind: 'noop', depends_on: [] },
      {
        key: 'ship',
        kind: 'noop',
        depends_on: ['build', 'test'],
        when: '$.steps.build.result.done == "build"',
      },
    ]);
    const said = await sayings(steps[2] ?? '');
    expect(said).toContain('Step ship is blocked: it waits for build (queued), test (queued).');
    expect(said).toContain('decides whether it runs or is skipped.');
  });

  it('that is queued says who could claim it and what is ahead', async () => {
    const { steps } = await propose([
      { key: 'one', kind: 'noop' },
      { key: 'two', kind: 'noop', depends_on: [], priority: 1 },
    ]);
    await advanceClock(database.sql, '5 minutes');
    expect(await sayings(steps[1] ?? '')).toContain(
      'Step two is queued since 12:00 UTC (5 minutes ago) for executor noop, attempt 1 of 3.\nNo worker is alive; `ops-loop worker` starts one.\nAhead of it in the queue of its executor: 1.',
    );
    await startWorker('worker-b', ['http']);
    expect(await sayings(steps[0] ?? '')).toContain('No living worker serves executor noop;');
    await startWorker();
    expect(await sayings(steps[0] ?? '')).toContain(
      'Executor noop is served by worker-a.\nIt is the next of its executor.',
    );
    await port.pause({ scope: 'dispatch', mode: 'halt' });
    expect(await sayings(steps[0] ?? '')).toContain(
      'The next claim sets it aside for the switch dispatch (halt',
    );
  });

  it('that is held names switch, list or bound, and what lifts it', async () => {
    const { steps, mission } = await propose([{ key: 'one', kind: 'noop' }]);
    const id = steps[0] ?? '';
    await port.pause({ scope: `mission:${mission}`, reason: 'wait for ada' });
    await claim();
    expect(await sayings(id)).toContain(
      `Step one is held by the switch mission:${mission} (drain: wait for ada, since 12:00:00 UTC); \`ops-loop resume mission:${mission}\` lifts it.`,
    );
    await port.resume({ scope: `mission:${mission}` });
    await port.setPolicy({ key: 'worker_policy', value: { blocked_executors: ['noop'] } });
    await claim();
    expect(await sayings(id)).toContain(
      'Step one is held by worker_policy.blocked_executors, which names noop; take it out there.',
    );
    await port.setPolicy({ key: 'worker_policy', value: { executors: { noop: { max_running: 0 } } } });
    await claim();
    expect(await sayings(id)).toContain(
      'Step one is held by worker_policy.executors.noop.max_running: 0 of 0 run; it starts when one of them ends.',
    );
  });

  it('that is held by a rate says when its window turns', async () => {
    await port.setPolicy({
      key: 'worker_policy',
      value: { executors: { noop: { rate: { count: 1, per_minutes: 10 } } } },
    });
    const { steps } = await propose([
      { key: 'one', kind: 'noop' },
      { key: 'two', kind: 'noop', depends_on: [], priority: 1 },
    ]);
    await complete();
    await claim();
    expect(await sayings(steps[1] ?? '')).toContain(
      'Step two is held by worker_policy.executors.noop.rate: 1 of 1 per 10 minutes used; the window turns at 12:10 UTC (10 minutes left).',
    );
  });

  it('that runs says where, until when and at which attempt', async () => {
    const { steps } = await propose([{ key: 'one', kind: 'noop' }]);
    await claim();
    const id = steps[0] ?? '';
    expect(await sayings(id)).toContain(
      'Step one runs on worker worker-a since 12:00:00 UTC (just now), attempt 1 of 3.\nIts lease lasts until 12:01:00 UTC (60 seconds left)',
    );
    await advanceClock(database.sql, '5 minutes');
    expect(await sayings(id)).toContain('Its lease ended at 12:01 UTC (4 minutes ago): the next recovery');
  });

  it('that failed once says when it is tried again, then why it is out of attempts', async () => {
    const { steps, mission } = await propose([
      { key: 'one', kind: 'noop', max_retries: 2 },
      { key: 'two', kind: 'noop' },
    ]);
    const id = steps[0] ?? '';
    await fail('retryable');
    const waits = await sayings(id);
    expect(waits).toMatch(
      /^Step one is scheduled for 12:00:0\d UTC \((1 second|2 seconds|less than a second) left\)\.$/m,
    );
    expect(waits).toContain('Then comes attempt 2 of 2. The last one ended with: it broke.');
    await advanceClock(database.sql, '1 minute');
    await fail('retryable', 'it broke\nagain.');
    const { id: letter } = await database.one<{ id: string }>('select id from public.ops_step_dead_letters');
    const failed = await sayings(id);
    expect(failed).toContain(
      'Step one failed at 12:01:00 UTC (just now): it broke again.\nAll 2 attempts are used up.\nIt stopped its mission.',
    );
    expect(failed).toContain(
      `\`ops-loop retry ${id}\` or \`ops-loop dlq requeue ${letter}\` runs it again in a new series.`,
    );
    expect(await sayings(steps[1] ?? '')).toContain(
      'Step two was skipped at 12:01:00 UTC (just now), because step one failed.',
    );
    expect(await sayings(mission)).toContain(
      `\`ops-loop retry ${mission}\` runs it on from its last good step.`,
    );
    const { attempts } = await port.explainStep({ id });
    expect(attempts).toMatchObject([
      { status: 'failed', lease_epoch: 1 },
      { status: 'failed', lease_epoch: 2 },
    ]);
    await port.retryStep({ id });
    expect(await sayings(id)).toContain('This is its series 2');
  });

  it.each([
    ['permanent', 'Its error is permanent (Broken)'],
    ['unknown', 'Nobody knows whether it took effect'],
  ] as const)('that ended as %s says what that means', async (outcome, meaning) => {
    await database.sql(`update public.ops_executors set idempotent = false where name = 'noop'`);
    const { steps } = await propose([{ key: 'one', kind: 'noop' }]);
    await fail(outcome);
    expect(await sayings(steps[0] ?? '')).toContain(meaning);
    await database.sql(`update public.ops_executors set idempotent = true where name = 'noop'`);
  });

  it('that was skipped or cancelled or succeeded says so', async () => {
    const { steps, mission } = await propose([
      { key: 'one', kind: 'noop' },
      { key: 'two', kind: 'noop', when: '$.steps.one.result.done == "never"' },
      { key: 'three', kind: 'noop' },
    ]);
    await complete();
    await port.cancelMission({ id: mission, reason: 'no longer wanted' });
    expect(await sayings(steps[0] ?? '')).toContain(
      'Step one succeeded at 12:00:00 UTC (just now) on worker worker-a, attempt 1 of 3.',
    );
    expect(await sayings(steps[1] ?? '')).toMatch(
      /^Step two was skipped at .*: its condition `.*` was false\.$/m,
    );
    expect(await sayings(steps[2] ?? '')).toMatch(
      /^Step three was cancelled at .*: no longer wanted\.\n`ops-loop retry/m,
    );
  });
});

describe('any id', () => {
  it('is explained by what it stands for', async () => {
    await setMatrix(pattern('any', { event_type: 'a:b' }));
    const event = await emit('a:b');
    await beat();
    await fail('permanent');
    const ids = await database.one<Record<string, string>>(
      `select r.id as reaction, p.id as proposal, m.id as mission, s.id as step, a.id as attempt, d.id as letter
       from public.ops_agent_reactions r, public.ops_mission_proposals p, public.ops_missions m, public.ops_mission_steps s,
         public.ops_action_runs a, public.ops_step_dead_letters d`,
    );
    const found = async (id: string | undefined) => {
      const { kind, id: leadsTo } = await port.why({ id: id ?? '' });
      return [kind, leadsTo];
    };
    expect(await found(ids.reaction)).toEqual(['event', event]);
    for (const kind of ['proposal', 'mission', 'step'])
      expect(await found(ids[kind])).toEqual([kind, ids[kind]]);
    for (const id of [ids.attempt, ids.letter]) expect(await found(id)).toEqual(['step', ids.step]);
  });

  it('that nothing has is refused with a hint', async () => {
    const id = '00000000-0000-4000-8000-000000000000';
    for (const ask of [port.why, port.trace, port.explainEvent, port.explainProposal, port.explainStep])
      await expect(ask({ id })).rejects.toMatchObject({
        code: 'OPS_012',
        hint: expect.stringContaining('full id'),
      });
  });
});

const nodes = (node: TraceNode): TraceNode[] => [node, ...node.children.flatMap(nodes)];
const kinds = (node: TraceNode): unknown[] => [node.kind, ...node.children.map(kinds)];

describe('the causal tree', () => {
  it('is the same whole tree from every id in it', async () => {
    await setMatrix(
      pattern('first', { event_type: 'a:b', template: template('first', [{ key: 'one', kind: 'noop' }]) }),
      pattern('second', {
        event_type: 'step:noop:succeeded',
        where: '$.data.key == "one"',
        template: template('second', [{ key: 'two', kind: 'noop' }]),
      }),
      pattern('quiet', { event_type: 'a:b', probability: 0 }),
    );
    const event = await emit('a:b');
    await beat();
    await complete();
    await beat();
    const tree = await port.trace({ id: event });
    const mission = (step: unknown[], ...events: unknown[]) => [
      'reaction',
      ['proposal', ['mission', step, ...events]],
    ];
    const second = ['decision', mission(['step'])];
    const raised = ['event', second];
    expect(kinds(tree)).toEqual([
      'event',
      ['decision', mission(['step', ['attempt', raised]], ['event'])],
      ['decision'],
    ]);
    expect(tree).toMatchObject({
      id: event,
      label: 'a:b from manual',
      status: 'fired',
      at: '2026-03-04T12:00:00+00:00',
    });
    for (const { kind, id } of nodes(tree))
      if (['event', 'reaction', 'proposal', 'mission', 'step'].includes(kind))
        expect(await port.trace({ id })).toEqual(tree);
  });

  it('starts at the proposal when there is no event, and shows retries in their order', async () => {
    const { id, steps } = await propose([
      { key: 'one', kind: 'noop' },
      { key: 'two', kind: 'noop' },
    ]);
    await fail('retryable');
    await advanceClock(database.sql, '1 minute');
    await complete();
    const tree = await port.trace({ id: steps[1] ?? '' });
    expect([tree.kind, tree.id]).toEqual(['proposal', id]);
    const attempts = nodes(tree).filter(({ kind }) => kind === 'attempt');
    expect(attempts.map(({ status }) => status)).toEqual(['failed', 'succeeded']);
    expect(
      nodes(tree)
        .filter(({ kind }) => kind === 'step')
        .map(({ label }) => label),
    ).toEqual(['one (noop)', 'two (noop)']);
  });

  it('hangs what a waiting proposal led to under that proposal', async () => {
    await port.setPolicy({
      key: 'auto_approve',
      value: {
        enabled: true,
        allowed_step_kinds: ['noop'],
        max_risk_level: 'low',
        allowed_sources: ['reaction'],
      },
    });
    await setMatrix(pattern('ask', { event_type: 'proposal:waiting' }));
    const { id } = await propose([{ kind: 'noop' }]);
    await beat();
    const tree = await port.trace({ id });
    expect(kinds(tree)).toEqual([
      'proposal',
      ['event', ['decision', ['reaction', ['proposal', ['mission', ['step']]]]]],
    ]);
    expect(await port.trace({ id: nodes(tree).find(({ kind }) => kind === 'step')?.id ?? '' })).toEqual(tree);
  });

  it('is cut at 2,000 nodes and says so', async () => {
    await setMatrix(pattern('any', { event_type: 'a:b' }));
    const id = await emit('a:b');
    await beat();
    await database.sql(
      `insert into public.ops_event_decisions (event_id, pattern_id, revision, outcome, clause, decided_at)
       select $1, 'p' || n, 1, 'unmatched', 'where', public.ops_clock() from generate_series(1, 2500) n`,
      [id],
    );
    const tree = await port.trace({ id });
    expect(nodes(tree)).toHaveLength(2000);
    expect(tree.detail).toMatchObject({ cut: expect.stringContaining('2,000') });
  });
});

describe('status and health', () => {
  it('count every row by status, waits, switches, workers and latencies', async () => {
    await setMatrix(
      pattern('any', {
        event_type: 'a:b',
        template: template('any', [
          { key: 'one', kind: 'noop' },
          { key: 'two', kind: 'noop' },
        ]),
      }),
    );
    await startWorker();
    await emit('a:b');
    await advanceClock(database.sql, '2 seconds');
    await beat();
    await advanceClock(database.sql, '3 seconds');
    await complete();
    await emit('a:b');
    await propose([{ key: 'later', kind: 'noop', priority: -1 }]);
    await fail('retryable');
    const status = await port.status();
    expect(status.events).toMatchObject({ open: 1, fired: 1 });
    expect(status.reactions).toMatchObject({ done: 1 });
    expect(status.proposals).toEqual({ auto_approved: 2 });
    expect(status.missions).toEqual({ running: 2 });
    expect(status.steps).toEqual({ succeeded: 1, queued: 1, scheduled: 1 });
    expect(status.attempts).toEqual({ succeeded: 1, failed: 1 });
    expect(status.waiting).toEqual({ time: 1 });
    expect(status.workers).toMatchObject([{ name: 'worker-a', running: 0, executors: ['noop'] }]);
    expect(status.latencies.event_to_proposal).toEqual({ p50_ms: 2000, p95_ms: 2000, samples: 1 });
    expect(status.latencies.ready_to_claimed).toMatchObject({ samples: 1, p95_ms: 3000 });
    expect(status.latencies.step_run).toMatchObject({ p50_ms: 0, samples: 2 });
    await port.pause({ scope: 'dispatch', reason: 'lunch' });
    await claim();
    const paused = await port.status();
    expect(paused.switches).toMatchObject({ dispatch: { mode: 'drain', reason: 'lunch' } });
    expect(paused.waiting).toEqual({ time: 1, 'switch:dispatch': 1 });
  });

  it('is healthy when nothing waits', async () => {
    await beat();
    expect(await port.health()).toMatchObject({
      status: 'healthy',
      problems: [],
      open_events: 0,
      last_beat_at: '2026-03-04T12:00:00+00:00',
    });
  });

  it('is degraded, then unhealthy, when no beat decides the events', async () => {
    await beat();
    await emit('a:b');
    await advanceClock(database.sql, '16 minutes');
    const degraded = await port.health();
    expect(degraded).toMatchObject({ status: 'degraded', open_events: 1, oldest_open_event_seconds: 960 });
    expect(degraded.problems).toEqual([
      'The last scheduled heartbeat ended 16 minutes ago while 1 events are open: is the scheduler calling? `ops-loop heartbeat` runs one.',
      'The oldest of 1 open events has waited for 16 minutes.',
    ]);
    await advanceClock(database.sql, '1 hour');
    expect((await port.health()).status).toBe('unhealthy');
    await port.pause({ scope: 'heartbeat' });
    expect((await port.health()).problems).toEqual([
      'The oldest of 1 open events has waited for 76 minutes: the switch heartbeat pauses deciding, `ops-loop resume heartbeat` lifts it.',
    ]);
  });

  it('names executors that nobody serves, and leases that nobody recovers', async () => {
    await propose([{ key: 'one', kind: 'noop' }]);
    expect(await port.health()).toMatchObject({
      status: 'degraded',
      problems: [
        'Steps wait for executor noop since 12:00:00 UTC. No worker is alive; `ops-loop worker` starts one.',
      ],
    });
    await startWorker();
    expect((await port.health()).status).toBe('healthy');
    await claim();
    await advanceClock(database.sql, '4 minutes');
    const late = await port.health();
    expect(late).toMatchObject({ status: 'degraded', expired_leases: 1, running_steps: 1 });
    expect(late.problems[0]).toContain('1 of 1 running steps have lost their lease, the first 3 minutes ago');
  });

  it('says that the last beats failed', async () => {
    for (const error of ['one', 'two', 'disk full']) {
      await advanceClock(database.sql, '1 minute');
      await port.recordBeatFailure({ source: 'cron', error });
    }
    expect(await port.health()).toMatchObject({
      status: 'unhealthy',
      problems: ['3 of the last 3 heartbeats failed, the last with: disk full.'],
    });
  });
});

describe('every function here', () => {
  it('works in a read-only transaction', async () => {
    await setMatrix(...everyClause);
    const open = await emit('a:b', { n: 7 });
    await propose([{ key: 'one', kind: 'noop' }]);
    await claim();
    const reader = await database.connect();
    await reader.query('begin read only');
    const asked = `select public.ops_why($1), public.ops_trace($1), public.ops_status(), public.ops_health(), (select count(*) from public.ops_check_invariants())`;
    for (const { id } of await database.sql<{ id: string }>(
      `select id from public.ops_mission_proposals union all select id from public.ops_missions union all select id from public.ops_mission_steps
       union all select $1::uuid`,
      [open],
    ))
      expect((await reader.query(asked, [id])).rowCount).toBe(1);
    await reader.query('rollback');
  });
});
