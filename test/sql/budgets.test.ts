/** Budgets: reserved before the start, settled after the end, never passed, and what waits says for which. */
import { describe, expect, test } from 'vitest';
import { advanceClock, setClock } from '../support/clock.js';
import { type Json, type Lease, only, race, raceRounds, type StepTemplate, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const scout = (n: number, more: StepTemplate = {}): StepTemplate => ({
  key: `s${n}`,
  kind: 'agent',
  depends_on: [],
  params: { role: 'scout', prompt: 'look around' },
  ...more,
});
const scouts = (count: number) => Array.from({ length: count }, (_, n) => scout(n));
const claim = (limit = 100) => engine.claim(limit, ['agent']);
const budgets = (policy: { [key: string]: Json }) => engine.setPolicy('budgets', policy);
const listed = async (budget: string) =>
  only((await engine.port.listBudgets()).filter((row) => row.budget === budget));
const waiting = async (): Promise<string[]> =>
  (
    await db.sql<{ wait_reason: string }>(
      'select wait_reason from ops_mission_steps where wait_reason is not null',
    )
  ).map(({ wait_reason }) => wait_reason);
const end = (lease: Lease, meta?: { [key: string]: Json }) =>
  engine.port.completeSteps({
    worker: 'w',
    results: [{ step_id: lease.id, lease_epoch: lease.lease_epoch, result: {}, ...(meta && { meta }) }],
  });
const types = async () =>
  (
    await db.sql<{ type: string }>(
      "select type from ops_agent_events where type like 'budget:%' order by created_at",
    )
  ).map(({ type }) => type);

const tenADay = { role: { scout: { usd_per_day: 10 } }, reserve: { scout: { usd: 4, tokens: 1000 } } };

describe('money', () => {
  test('is reserved before the start: what has no room left waits and says for which budget', async () => {
    await budgets(tenADay);
    await engine.mission(scouts(3));
    expect(await claim()).toHaveLength(2);
    expect(await waiting()).toEqual(['budget:role:scout:usd:day']);
    expect(await listed('role:scout:usd:day')).toMatchObject({
      cap: 10,
      spent: 0,
      reserved: 8,
      remaining: 2,
      waiting: 1,
    });
  });

  test('is settled at what was reported, and what that leaves lets the next one start', async () => {
    await budgets(tenADay);
    await engine.mission(scouts(3));
    const [first] = await claim();
    if (first === undefined) throw new Error('nothing was claimed');
    expect(await claim()).toEqual([]);
    await end(first, { usd: 0.5 });
    expect(await listed('role:scout:usd:day')).toMatchObject({ spent: 0.5, reserved: 4 });
    expect(await claim()).toHaveLength(1);
    expect(await listed('role:scout:usd:day')).toMatchObject({ spent: 0.5, reserved: 8, waiting: 0 });
  });

  test.each([
    ['no figure', 'retryable', undefined, 4],
    ['a figure', 'retryable', { usd: 1 }, 1],
    ['an unknown outcome', 'unknown', undefined, 4],
    ['being turned away', 'rate_limited', undefined, 0],
    ['a figure that is no number', 'permanent', { usd: 'a lot' }, 4],
    ['a negative figure', 'permanent', { usd: -3 }, 0],
  ] as const)('of an attempt that failed with %s settles so', async (_, outcome, meta, spent) => {
    await budgets(tenADay);
    await engine.mission([scout(0)]);
    const { id, lease_epoch } = only(await claim());
    await engine.port.failSteps({
      worker: 'w',
      failures: [{ step_id: id, lease_epoch, outcome, error: 'it broke', ...(meta && { meta }) }],
    });
    expect(await listed('role:scout:usd:day')).toMatchObject({ spent, reserved: 0 });
  });

  test('of a crashed worker settles at the reserve', async () => {
    await budgets(tenADay);
    await engine.mission([scout(0)]);
    await claim();
    await advanceClock(db.sql, '2 minutes');
    await engine.port.recoverExpiredLeases();
    expect(await listed('role:scout:usd:day')).toMatchObject({ spent: 4, reserved: 0 });
  });

  test('of what was given back unstarted is free, run and all', async () => {
    await budgets({ global: { runs_per_day: 1 }, role: tenADay.role, reserve: tenADay.reserve });
    await engine.mission([scout(0)]);
    await engine.release(await claim());
    expect(await listed('role:scout:usd:day')).toMatchObject({ spent: 0, reserved: 0 });
    expect(await claim()).toHaveLength(1);
  });

  test('without a reserve while a cap exists is refused, and says what to set', async () => {
    await budgets({ global: { usd_per_day: 10 } });
    const mission = await engine.mission([scout(0)]);
    expect(await claim()).toEqual([]);
    expect(await waiting()).toEqual(['budget:unpriced:agent:usd']);
    const { id } = await engine.step(mission, 's0');
    expect((await engine.port.explainStep({ id })).sentences.join(' ')).toContain(
      'set budgets.reserve.agent.usd',
    );
    await budgets({ global: { usd_per_day: 10 }, reserve: { agent: { usd: 1 } } });
    expect(await claim()).toHaveLength(1);
  });

  test('does not stop what has nobody to pay', async () => {
    await budgets({ global: { usd_per_day: 0, tokens_per_day: 0 } });
    await engine.mission([{ key: 'free', kind: 'noop' }]);
    expect(await engine.claim()).toHaveLength(1);
  });

  test('spent beyond the reserve counts, and the next one waits', async () => {
    await budgets(tenADay);
    await engine.mission([scout(0)]);
    await end(only(await claim()), { usd: 25 });
    await engine.mission([scout(1)]);
    expect(await claim()).toEqual([]);
    expect(await listed('role:scout:usd:day')).toMatchObject({ spent: 25, remaining: -15 });
  });
});

describe('every scope, unit and period', () => {
  test.each([
    ['global:tokens:month', { global: { tokens_per_month: 1500 } }],
    ['executor:agent:usd:day', { executor: { agent: { usd_per_day: 5 } } }],
    ['role:scout:runs:day', { role: { scout: { runs_per_day: 1 } } }],
    ['pattern:watch:runs:month', { pattern: { watch: { runs_per_month: 1 } } }],
  ])('%s bounds, alone', async (budget, policy) => {
    await budgets({ ...policy, reserve: tenADay.reserve });
    await engine.patterns({
      id: 'watch',
      event_type: 'thing:seen',
      template: { title: 'look', steps: scouts(2) },
    });
    await engine.emit('thing:seen');
    await engine.beat();
    const { id } = only(await engine.port.listProposals({ status: 'pending' }));
    await engine.port.approveProposal({ id, actor: 'ada' });
    expect(await claim()).toHaveLength(1);
    expect(await waiting()).toEqual([`budget:${budget}`]);
  });

  test('the tightest of several binds', async () => {
    await budgets({
      global: { runs_per_day: 5 },
      role: { scout: { runs_per_day: 3 } },
      executor: { agent: { runs_per_month: 2 } },
    });
    await engine.mission(scouts(6));
    expect(await claim()).toHaveLength(2);
    expect(new Set(await waiting())).toEqual(new Set(['budget:executor:agent:runs:month']));
  });

  test('a step that waits lets others of the same claim pass', async () => {
    await budgets({ role: { scout: { runs_per_day: 1 } } });
    await engine.mission([...scouts(5), scout(9, { params: { role: 'sage', prompt: 'think' } })]);
    expect((await claim(2)).map(({ key }) => key)).toEqual(['s0', 's9']);
  });
});

describe('time', () => {
  test('turns the day over in the time zone of the policy, and the idle worker knows when', async () => {
    await setClock(db.sql, { at: '2026-03-01T22:30:00Z' });
    await budgets({ time_zone: 'Europe/Berlin', role: { scout: { runs_per_day: 1 } } });
    await engine.mission(scouts(2));
    expect(await claim()).toHaveLength(1);
    expect(await claim()).toEqual([]);
    const idle = await engine.port.workerIdle({ worker: 'w', executors: ['agent'] });
    expect(new Date(idle.next_due_at ?? 0).toISOString()).toBe('2026-03-01T23:00:00.000Z');
    await setClock(db.sql, { at: '2026-03-01T23:00:00Z' });
    expect(await claim()).toHaveLength(1);
  });

  test('books an attempt in the period that it started in', async () => {
    await setClock(db.sql, { at: '2026-03-01T23:59:00Z' });
    await budgets({ role: { scout: { usd_per_day: 10 } }, reserve: tenADay.reserve });
    await engine.mission([scout(0)]);
    const lease = only(await engine.claim(1, ['agent'], 600));
    await setClock(db.sql, { at: '2026-03-02T00:01:00Z' });
    await end(lease, { usd: 3 });
    await engine.beat();
    expect(await db.sql('select key, reserved::int, spent::int from ops_budgets order by key')).toEqual([
      { key: 'role:scout:usd:day:2026-03-01', reserved: 0, spent: 3 },
      { key: 'role:scout:usd:day:2026-03-02', reserved: 0, spent: 0 },
    ]);
  });
});

describe('an operator', () => {
  test('is told once at 80 %, and once when it is used up', async () => {
    await budgets({ role: { scout: { runs_per_day: 5 } } });
    await engine.mission(scouts(7));
    await claim(3);
    expect(await types()).toEqual([]);
    await claim(1);
    expect(await types()).toEqual(['budget:warning']);
    await claim();
    await claim();
    await engine.beat();
    expect(await types()).toEqual(['budget:warning', 'budget:exhausted']);
  });

  test('who raises a cap sets free at once what waited', async () => {
    await budgets({ role: { scout: { runs_per_day: 1 } } });
    await engine.mission(scouts(4));
    await claim();
    expect(await waiting()).toHaveLength(3);
    await budgets({ role: { scout: { runs_per_day: 3 } } });
    expect(await waiting()).toEqual([]);
    expect(await claim()).toHaveLength(2);
  });

  test('who takes the policy away ends it', async () => {
    await budgets({ role: { scout: { runs_per_day: 1 } } });
    await engine.mission(scouts(4));
    const [first] = await claim();
    await db.sql("delete from ops_policy where key = 'budgets'");
    expect(await claim()).toHaveLength(3);
    if (first !== undefined) await end(first);
    await engine.beat();
    expect(await db.sql('select from ops_budgets where reserved <> 0')).toEqual([]);
  });
});

describe('fifty at once', () => {
  test('never pass a budget, again and again', async () => {
    for (let round = 1; round <= raceRounds; round++) {
      const cap = 1 + (round % 7);
      await budgets({
        global: { runs_per_day: cap },
        role: { scout: { usd_per_day: 4 * cap } },
        ...{ reserve: tenADay.reserve },
      });
      await engine.mission(scouts(10));
      const claims = await race(50, () => claim(1));
      expect(claims.flat(), `round ${round}`).toHaveLength(cap);
      await engine.forget();
    }
  }, 120_000);
});

describe('bounds per key', () => {
  const repository = (n: number, repo: string): StepTemplate => ({
    key: `r${n}`,
    kind: 'noop',
    depends_on: [],
    params: { echo: { repo } },
  });
  const perKey = (bounds: { [key: string]: Json }) =>
    engine.setPolicy('worker_policy', {
      executors: { noop: { per_key: { param: 'echo.repo', ...bounds } } },
    });

  test('let so many run per value of a parameter, and the end of one starts the next', async () => {
    await perKey({ max_running: 1 });
    await engine.mission([...[0, 1, 2].map((n) => repository(n, 'web')), repository(3, 'api')]);
    const first = await engine.claim();
    expect(first.map(({ key }) => key)).toEqual(['r0', 'r3']);
    expect(new Set(await waiting())).toEqual(new Set(['limit:key:noop:web']));
    expect(await engine.claim()).toEqual([]);
    await engine.complete(first);
    expect((await engine.claim()).map(({ key }) => key)).toEqual(['r1']);
  });

  test('come from the executor itself when the policy says nothing', async () => {
    await db.sql("update ops_executors set exclusive = 'echo.repo' where name = 'noop'");
    await engine.mission([repository(0, 'web'), repository(1, 'web')]);
    const first = await engine.claim();
    expect(first).toHaveLength(1);
    await engine.fail(first, 'retryable');
    expect(await engine.claim()).toHaveLength(1);
  });

  test('count live leases only: a dead worker frees its key with its lease', async () => {
    await perKey({ max_running: 1 });
    await engine.mission([repository(0, 'web'), repository(1, 'web')]);
    await engine.claim();
    await engine.claim();
    await advanceClock(db.sql, '2 minutes');
    await engine.beat();
    expect(await engine.claim()).toHaveLength(1);
  });

  test('hold a rate per key until its window turns', async () => {
    await perKey({ rate: { count: 2, per_minutes: 10 } });
    await engine.mission([...[0, 1, 2].map((n) => repository(n, 'web')), repository(3, 'api')]);
    expect((await engine.claim()).map(({ key }) => key)).toEqual(['r0', 'r1', 'r3']);
    expect(await waiting()).toEqual(['rate:key:noop:web']);
    const idle = await engine.port.workerIdle({ worker: 'w', executors: ['noop'] });
    expect(idle.next_due_at).not.toBeNull();
    await advanceClock(db.sql, '10 minutes');
    expect((await engine.claim()).map(({ key }) => key)).toEqual(['r2']);
  });

  test('hold under fifty claims at once, again and again', async () => {
    await perKey({ max_running: 2 });
    for (let round = 1; round <= raceRounds; round++) {
      await engine.mission(Array.from({ length: 12 }, (_, n) => repository(n, `repo${n % 3}`)));
      const claims = await race(50, () => engine.claim(2));
      const taken = claims.flat();
      for (const repo of ['repo0', 'repo1', 'repo2']) {
        const running = taken.filter(({ params }) => JSON.stringify(params).includes(`"${repo}"`));
        expect(running.length, `round ${round}, ${repo}`).toBeLessThanOrEqual(2);
      }
      // A key that another claim looked at is left for later: nothing is lost by that.
      const late = (await engine.claim()).length;
      expect(taken.length + late, `round ${round}`).toBe(6);
      await engine.forget();
    }
  }, 120_000);
});
