/** Claims: order, exclusiveness, limits and switches, and what is held says why. */
import { describe, expect, test } from 'vitest';
import { advanceClock, setClock } from '../support/clock.js';
import { blocked, hold, noop, only, type StepTemplate, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const side = (key: string, more: StepTemplate = {}) => noop(key, { depends_on: [], ...more });
const many = (count: number, more: StepTemplate = {}) =>
  Array.from({ length: count }, (_, n) => side(`s${n}`, more));
const keys = (claimed: { key: string }[]) => claimed.map(({ key }) => key);
const waits = async (): Promise<Record<string, number>> =>
  Object.fromEntries(
    (
      await db.sql<{ wait_reason: string; n: number }>(
        'select coalesce(wait_reason, status) as wait_reason, count(*)::int as n from ops_mission_steps group by 1',
      )
    ).map(({ wait_reason, n }) => [wait_reason, n]),
  );

describe('the order', () => {
  test('is priority, then ready_at, then id, over all executors at once', async () => {
    await engine.mission([
      side('late', { priority: 1 }),
      { key: 'signal', kind: 'radar', depends_on: [], params: { action: 'list' }, priority: -1 },
      side('first', { priority: -2 }),
      side('plain'),
    ]);
    await engine.mission([side('newer')]);
    expect(keys(await engine.claim(100, ['radar', 'noop']))).toEqual([
      'first',
      'signal',
      'plain',
      'newer',
      'late',
    ]);
  });

  test('holds over claims of a few', async () => {
    await engine.mission(many(9).map((step, n) => ({ ...step, priority: (n * 7) % 9 })));
    const taken: string[] = [];
    for (let claim = 0; claim < 3; claim++) taken.push(...keys(await engine.claim(3)));
    expect(taken).toEqual([0, 4, 8, 3, 7, 2, 6, 1, 5].map((n) => `s${n}`));
  });

  test('leaves steps of other executors alone', async () => {
    await engine.mission([
      side('mine'),
      { key: 'other', kind: 'radar', depends_on: [], params: { action: 'list' } },
    ]);
    expect(keys(await engine.claim(10, ['noop']))).toEqual(['mine']);
    expect(await engine.claim(10, ['openclaw'])).toEqual([]);
  });
});

describe('marks', () => {
  test('pass over what stands before them, of their executor alone', async () => {
    await setClock(db.sql, { at: '2026-03-01T10:00:00Z' });
    await engine.mission([side('early'), side('late')]);
    const rows = await engine.port.claimSteps({ worker: 'w', executors: ['noop'], limit: 1 });
    const { priority, ready_at } = only(rows);
    await db.sql("update ops_mission_steps set priority = -1 where status = 'queued'");
    const claim = (marks?: object) =>
      engine.port.claimSteps({ worker: 'w', executors: ['noop'], ...(marks && { marks: { ...marks } }) });
    expect(await claim({ noop: { priority, ready_at } })).toEqual([]);
    expect((await claim({ radar: { priority, ready_at } })).map(({ key }) => key)).toEqual(['late']);
  });
});

describe('a claim', () => {
  test('gives a lease, a new epoch and an attempt, and starts the mission', async () => {
    await setClock(db.sql, { at: '2026-03-01T10:00:00Z' });
    const mission = await engine.mission([side('one', { timeout_seconds: 7.5 })]);
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'approved', started_at: null });
    expect(only(await engine.claim(1, ['noop'], 90))).toMatchObject({
      mission_id: mission,
      lease_epoch: 1,
      attempt: 1,
      timeout_seconds: 7.5,
      lease_expires_at: '2026-03-01T10:01:30+00:00',
    });
    expect(await engine.step(mission, 'one')).toMatchObject({
      status: 'running',
      worker_id: 'w',
      reserved_at: new Date('2026-03-01T10:00:00Z'),
    });
    expect(await engine.missionRow(mission)).toMatchObject({
      status: 'running',
      started_at: new Date('2026-03-01T10:00:00Z'),
    });
    expect(await db.sql("select run_id = step_id || ':1' as named, status from ops_action_runs")).toEqual([
      { named: true, status: 'started' },
    ]);
  });

  test('passes over steps that another claim is taking, without waiting', async () => {
    await engine.mission(many(4));
    const letGo = await hold(db, "select * from ops_claim_steps('other', '{noop}', 2)");
    expect(await engine.claim(10)).toHaveLength(2);
    await letGo();
    expect(await engine.claim(10)).toHaveLength(2);
  });

  test('by forty workers at once gives each step to exactly one, in one epoch', async () => {
    for (let n = 0; n < 4; n++) await engine.mission(many(50));
    const claims = await Promise.all(Array.from({ length: 40 }, () => engine.claim(7)));
    const rest = await engine.claim(1000);
    const taken = [...claims.flat(), ...rest].map(({ id, lease_epoch }) => `${id}:${lease_epoch}`);
    expect(taken).toHaveLength(200);
    expect(new Set(taken).size).toBe(200);
    expect(await db.sql('select distinct lease_epoch::int as epoch from ops_mission_steps')).toEqual([
      { epoch: 1 },
    ]);
    expect(await db.sql("select from ops_action_runs where status = 'started'")).toHaveLength(200);
  });

  test('queues what has become due, and says when the next is', async () => {
    await setClock(db.sql, { at: '2026-03-01T10:00:00Z' });
    const mission = await engine.mission([side('one')]);
    await engine.fail(await engine.claim(), 'retryable');
    const { ready_at } = await engine.step(mission, 'one');
    expect(await engine.claim()).toEqual([]);
    const { next_due_at } = await engine.port.workerIdle({ worker: 'w', executors: ['noop'] });
    expect(new Date(String(next_due_at))).toEqual(ready_at);
    await setClock(db.sql, { at: ready_at });
    expect(only(await engine.claim())).toMatchObject({ attempt: 2, lease_epoch: 2 });
  });
});

describe('a limit', () => {
  test('of running steps holds under forty claims at once', async () => {
    await engine.setPolicy('worker_policy', { executors: { noop: { max_running: 5 } } });
    await engine.mission(many(40));
    const claims = await Promise.all(Array.from({ length: 40 }, () => engine.claim(3)));
    expect(claims.flat()).toHaveLength(5);
  });

  test('says why the others wait, and lets them go as slots free up', async () => {
    await engine.setPolicy('worker_policy', { executors: { noop: { max_running: 2 } } });
    await engine.mission(many(5));
    const first = await engine.claim();
    expect(await engine.claim()).toEqual([]);
    expect(await waits()).toEqual({ running: 2, 'limit:executor:noop': 3 });
    await engine.complete(first);
    expect(await engine.claim()).toHaveLength(2);
    await engine.claim();
    expect(await waits()).toEqual({ succeeded: 2, running: 2, 'limit:executor:noop': 1 });
  });

  test('counts live leases only: a dead worker does not block the executor', async () => {
    await engine.setPolicy('worker_policy', { executors: { noop: { max_running: 1 } } });
    await engine.mission(many(2));
    await engine.claim();
    await advanceClock(db.sql, '2 minutes');
    expect(await engine.claim()).toHaveLength(1);
  });

  test('of starts per time holds under forty claims at once and turns with its window', async () => {
    await setClock(db.sql, { at: '2026-03-01T10:00:00Z' });
    await engine.setPolicy('worker_policy', { executors: { noop: { rate: { count: 6, per_minutes: 1 } } } });
    await engine.mission(many(20));
    const claims = await Promise.all(Array.from({ length: 40 }, () => engine.claim(2)));
    expect(claims.flat()).toHaveLength(6);
    await engine.complete(claims.flat());
    expect(await engine.claim()).toEqual([]);
    expect(await waits()).toMatchObject({ succeeded: 6, 'rate:executor:noop': 14 });
    const { next_due_at } = await engine.port.workerIdle({ worker: 'w', executors: ['noop'] });
    expect(new Date(String(next_due_at))).toEqual(new Date('2026-03-01T10:01:00Z'));
    await advanceClock(db.sql, '61 seconds');
    expect(await engine.claim(100)).toHaveLength(6);
  });

  test('that is taken out of the policy lets go of what it held', async () => {
    await engine.setPolicy('worker_policy', { executors: { noop: { max_running: 1 } } });
    await engine.mission(many(4));
    await engine.claim();
    await engine.claim();
    expect(await waits()).toMatchObject({ 'limit:executor:noop': 3 });
    await engine.setPolicy('worker_policy', {});
    expect(await waits()).toEqual({ running: 1, queued: 3 });
  });

  test.each([
    ['an allow-list without it', { allowed_executors: ['radar'] }],
    ['an empty allow-list', { allowed_executors: [] }],
    ['a block-list', { blocked_executors: ['noop'] }],
  ])('%s holds an executor, visibly', async (_what, policy) => {
    await engine.setPolicy('worker_policy', policy);
    await engine.mission(many(2));
    expect(await engine.claim()).toEqual([]);
    expect(await waits()).toEqual({ 'policy:executor:noop': 2 });
    await engine.setPolicy('worker_policy', {});
    expect(await engine.claim()).toHaveLength(2);
  });
});

describe('a switch', () => {
  test.each([
    ['all', 'switch:all'],
    ['dispatch', 'switch:dispatch'],
    ['executor:noop', 'switch:executor:noop'],
  ])('on %s holds queued steps with its name, and resuming lets them go', async (scope, reason) => {
    await engine.mission(many(3));
    await engine.port.pause({ scope });
    expect(await engine.claim()).toEqual([]);
    expect(await waits()).toEqual({ [reason]: 3 });
    await engine.port.resume({ scope });
    expect(await engine.claim()).toHaveLength(3);
  });

  test('on a mission holds only its steps, also far down the queue', async () => {
    const held = await engine.mission(many(30));
    await engine.mission([side('other')]);
    await engine.port.pause({ scope: `mission:${held}` });
    expect(keys(await engine.claim(5))).toEqual(['other']);
    expect(await waits()).toEqual({ [`switch:mission:${held}`]: 30, running: 1 });
    await engine.port.resume({ scope: `mission:${held}` });
    expect(await engine.claim()).toHaveLength(30);
  });

  test('on a role or a pattern holds only their steps', async () => {
    const template = { title: 'from a pattern', steps: [side('reaction')] };
    await engine.patterns({ id: 'p', event_type: 'a:b', template });
    await engine.emit('a:b');
    await engine.beat();
    await engine.mission([
      side('plain'),
      { key: 'sage', kind: 'agent', depends_on: [], params: { role: 'sage', prompt: 'x' } },
    ]);
    await engine.port.pause({ scope: 'role:sage' });
    await engine.port.pause({ scope: 'pattern:p' });
    expect(keys(await engine.claim(10, ['noop', 'agent']))).toEqual(['plain']);
    expect(await waits()).toEqual({ running: 1, 'switch:role:sage': 1, 'switch:pattern:p': 1 });
    await engine.port.resume({ scope: 'role:sage' });
    await engine.port.resume({ scope: 'pattern:p' });
    expect(keys(await engine.claim(10, ['noop', 'agent'])).sort()).toEqual(['reaction', 'sage']);
  });

  test('that drains lets what runs go on; one that halts says so at the renewal', async () => {
    await engine.mission(many(1));
    const leases = await engine.claim();
    await engine.port.pause({ scope: 'executor:noop', mode: 'drain' });
    expect(await engine.renew(leases)).toMatchObject([{ held: true, halted: false }]);
    await engine.port.pause({ scope: 'executor:noop', mode: 'halt' });
    expect(await engine.renew(leases)).toMatchObject([{ held: true, halted: true }]);
    expect(await engine.complete(leases)).toMatchObject([{ held: true }]);
  });

  // A claim that had read the old switches writes its hold after everybody has lifted theirs.
  test('that is resumed while a claim is on its way leaves nothing held for ever', async () => {
    await engine.setPolicy('worker_policy', { executors: { agent: { max_running: 1 } } });
    await engine.mission(many(2));
    await engine.port.pause({ scope: 'executor:noop' });
    await engine.claim(1, ['agent']);
    const letGo = await hold(db, "select from ops_limits where key = 'executor:agent' for update");
    const late = engine.claim(10, ['agent', 'noop']);
    await blocked(db, 1, 'the claim waits for the limit of another executor');
    await engine.port.resume({ scope: 'executor:noop' });
    await letGo();
    expect(await late).toEqual([]);
    await engine.beat();
    expect(await engine.claim(10)).toHaveLength(2);
  });
});
