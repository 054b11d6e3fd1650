/** Missions: order, outputs passed on, conditions, failure that stops or does not, and the way back. */
import { describe, expect, test } from 'vitest';
import { advanceClock } from '../support/clock.js';
import { type Json, noop, reviveByHand, type StepTemplate, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const waits = (key: string, needs: string[], more: StepTemplate = {}) =>
  noop(key, { depends_on: needs, ...more });

/** Claims everything that is queued and ends each step as told; answers the keys that ran, in the order of the claim. */
async function run(outcomes: Record<string, 'permanent' | 'cancelled' | Json> = {}): Promise<string[]> {
  const claimed = await engine.claim();
  for (const lease of claimed) {
    const outcome = outcomes[lease.key] ?? { ran: lease.key };
    if (outcome === 'permanent' || outcome === 'cancelled') await engine.fail([lease], outcome);
    else await engine.complete([lease], outcome);
  }
  return claimed.map(({ key }) => key);
}
const revive = (key: string) => db.sql(`${reviveByHand} where key = $1`, [key]);
const status = async (mission: string) => (await engine.missionRow(mission)).status;

describe('the order', () => {
  test('is that of the list when nothing else is said', async () => {
    const mission = await engine.mission([noop('a'), noop('b'), noop('c')]);
    expect([await run(), await run(), await run(), await run()]).toEqual([['a'], ['b'], ['c'], []]);
    expect(await status(mission)).toBe('succeeded');
  });

  test('of a graph fans out and in again, and an empty list waits for nobody', async () => {
    const mission = await engine.mission([
      noop('root'),
      waits('left', ['root']),
      waits('right', ['root']),
      waits('free', []),
      waits('end', ['left', 'right']),
    ]);
    expect((await run()).sort()).toEqual(['free', 'root']);
    expect((await run()).sort()).toEqual(['left', 'right']);
    expect(await run()).toEqual(['end']);
    expect(await status(mission)).toBe('succeeded');
  });

  test('waits for all needs, whoever completes them, in one batch or in several at once', async () => {
    const needs = Array.from({ length: 30 }, (_, n) => `n${n}`);
    const mission = await engine.mission([...needs.map((key) => waits(key, [])), waits('end', needs)]);
    const leases = await engine.claim();
    await Promise.all([0, 1, 2, 3, 4, 5].map((n) => engine.complete(leases.filter((_, i) => i % 6 === n))));
    expect(await engine.step(mission, 'end')).toMatchObject({ status: 'queued', pending_needs: 0 });
    expect(await engine.missionRow(mission)).toMatchObject({ open_steps: 1 });
  });
});

describe('outputs', () => {
  test('are passed on with their types, lone or inside text, from any ancestor and from event and mission', async () => {
    const params = {
      echo: {
        lone: '{{steps.a.result.list}}',
        text: 'n={{steps.a.result.n}} of {{mission.title}}',
        none: '{{steps.b.result.gone ?? 3}}',
        status: '{{steps.b.status}}',
        event: '{{event.data.x}}',
      },
    };
    await engine.patterns({
      id: 'p',
      event_type: 'a:b',
      template: { title: 'job', steps: [noop('a'), noop('b'), noop('c', { params })] },
    });
    await engine.emit('a:b', { x: [1, { y: null }] });
    await engine.beat();
    await run({ a: { list: [1, 'two', { three: true }], n: 4 } });
    await run();
    expect((await engine.claim())[0]?.params).toEqual({
      echo: {
        lone: [1, 'two', { three: true }],
        text: 'n=4 of job',
        none: 3,
        status: 'succeeded',
        event: [1, { y: null }],
      },
    });
  });

  test('that contain placeholders themselves are not rendered again', async () => {
    await engine.mission([noop('a'), noop('b', { params: { echo: '{{steps.a.result.text}}' } })]);
    await run({ a: { text: '{{steps.a.result.secret}}' } });
    expect((await engine.claim())[0]?.params).toEqual({ echo: '{{steps.a.result.secret}}' });
  });

  test('that are missing fail that step only, with its place, and nobody else of the batch', async () => {
    const two = (path: string) => [
      noop('a'),
      noop('b', { params: { echo: [`{{steps.a.result.${path}}}`] } }),
    ];
    const [bad, good] = [await engine.mission(two('gone')), await engine.mission(two('here'))];
    const leases = await engine.claim();
    expect(await engine.complete(leases, { here: 1 })).toMatchObject([{ held: true }, { held: true }]);
    expect(await engine.step(bad, 'b')).toMatchObject({
      status: 'failed',
      last_error: expect.stringMatching(
        /^OPS_004 \$\.steps\[1\]\.params\.echo\[0\]: steps\.a\.result\.gone is missing/,
      ),
    });
    expect(await engine.step(good, 'b')).toMatchObject({ status: 'queued', params: { echo: [1] } });
    expect(await db.sql('select cause, error_class, attempts from ops_step_dead_letters')).toEqual([
      { cause: 'permanent', error_class: 'OPS_004', attempts: 1 },
    ]);
    expect([await status(bad), await status(good)]).toEqual(['failed', 'running']);
  });

  test('that do not fit the executor fail that step too', async () => {
    const mission = await engine.mission([
      noop('a'),
      noop('b', { params: { sleep_ms: '{{steps.a.result.ms}}' } }),
    ]);
    await run({ a: { ms: 'soon' } });
    expect(await engine.step(mission, 'b')).toMatchObject({
      status: 'failed',
      last_error: expect.stringContaining('$.steps[1].params.sleep_ms'),
    });
  });

  test('missing in one sibling skip the others that became ready with it', async () => {
    // Making the next one ready must see that the first has just skipped it.
    const reads = (key: string, path: string) =>
      waits(key, ['look'], { params: { echo: `{{steps.look.result.${path}}}` } });
    const mission = await engine.mission([
      noop('look'),
      reads('a', 'gone'),
      reads('b', 'here'),
      reads('c', 'here'),
    ]);
    await run({ look: { here: 1 } });
    expect(await engine.statuses(mission)).toMatchObject({ look: 'succeeded', a: 'failed' });
    expect(await engine.missionRow(mission)).toMatchObject({
      status: 'failed',
      open_steps: 0,
      failed_steps: 1,
    });
    expect(await engine.claim()).toEqual([]);
  });
});

describe('a condition', () => {
  test('that is false skips the step and lets the next ones go on', async () => {
    const mission = await engine.mission([
      noop('a'),
      noop('b', { when: '$.steps.a.result.n > 5' }),
      noop('c'),
      noop('d', { when: '$.steps.b.status == "skipped"' }),
    ]);
    await run({ a: { n: 5 } });
    expect(await engine.statuses(mission)).toEqual({
      a: 'succeeded',
      b: 'skipped',
      c: 'queued',
      d: 'blocked',
    });
    expect(await engine.step(mission, 'b')).toMatchObject({ skipped_for: null });
    await run();
    expect(await run()).toEqual(['d']);
    expect(await status(mission)).toBe('succeeded');
  });

  test('on the first step is asked at once, and a mission of skipped steps has succeeded', async () => {
    const mission = await engine.mission([
      noop('a', { when: '$.event.data.x == 1' }),
      noop('b', { when: '$.steps.a.status == "succeeded"' }),
    ]);
    expect(await engine.statuses(mission)).toEqual({ a: 'skipped', b: 'skipped' });
    expect(await engine.missionRow(mission)).toMatchObject({
      status: 'succeeded',
      completed_at: expect.any(Date),
    });
    expect(await db.sql("select from ops_agent_events where type = 'mission:succeeded'")).toHaveLength(1);
  });

  test('does not ask for outputs that are not there when it is false', async () => {
    const mission = await engine.mission([
      noop('a'),
      noop('b', { when: '$.steps.a.result.go == true', params: { echo: '{{steps.a.result.gone}}' } }),
    ]);
    await run({ a: { go: false } });
    expect(await engine.step(mission, 'b')).toMatchObject({ status: 'skipped' });
  });
});

describe('a failure', () => {
  test('that stops skips what has not started; running siblings finish', async () => {
    const mission = await engine.mission([waits('a', []), waits('b', []), waits('c', ['b']), waits('d', [])]);
    const [a, b] = await engine.claim(2);
    if (a === undefined || b === undefined) throw new Error('two steps were expected');
    await engine.fail([a], 'permanent');
    expect(await engine.statuses(mission)).toMatchObject({
      [a.key]: 'failed',
      [b.key]: 'running',
      c: 'skipped',
      d: 'skipped',
    });
    expect(await status(mission)).toBe('running');
    expect(await engine.complete([b])).toMatchObject([{ held: true }]);
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'failed', open_steps: 0 });
  });

  test('that does not stop lets dependents go on, and the mission succeed', async () => {
    const mission = await engine.mission([
      noop('a', { on_failure: 'continue' }),
      noop('b', { params: { echo: '{{steps.a.error}}' } }),
    ]);
    await run({ a: 'permanent' });
    expect((await engine.claim())[0]?.params).toEqual({ echo: 'it broke' });
    await engine.complete(await db.sql("select id, lease_epoch::int from ops_mission_steps where key = 'b'"));
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'succeeded', failed_steps: 0 });
  });

  test('revived brings back what was skipped for it, and the mission recovers', async () => {
    const mission = await engine.mission([
      noop('a'),
      noop('b'),
      noop('c', { when: '$.steps.b.status == "succeeded"' }),
    ]);
    await run({ a: 'permanent' });
    expect(await engine.step(mission, 'c')).toMatchObject({
      status: 'skipped',
      skipped_for: (await engine.step(mission, 'a')).id,
    });
    await revive('a');
    expect(await engine.statuses(mission)).toEqual({ a: 'queued', b: 'blocked', c: 'blocked' });
    expect([await run(), await run(), await run()]).toEqual([['a'], ['b'], ['c']]);
    expect(await status(mission)).toBe('succeeded');
  });

  test('that did not stop, revived, is waited for again', async () => {
    // Its dependents have counted it already when it failed.
    const mission = await engine.mission([
      waits('a', [], { on_failure: 'continue' }),
      waits('x', []),
      waits('b', ['a', 'x']),
    ]);
    const [a, x] = (await engine.claim()).sort((p, q) => p.key.localeCompare(q.key));
    if (a === undefined || x === undefined) throw new Error('two steps were expected');
    await engine.fail([a], 'permanent');
    await revive('a');
    expect(await run()).toEqual(['a']);
    expect(await engine.step(mission, 'b')).toMatchObject({ status: 'blocked', pending_needs: 1 });
    await engine.complete([x]);
    expect(await run()).toEqual(['b']);
  });

  test('beside another one: reviving one of them does not run what needs the other', async () => {
    // What is behind two failed steps is skipped for the second when the first comes back.
    const mission = await engine.mission([waits('a', []), waits('b', []), waits('c', ['a', 'b'])]);
    await run({ a: 'permanent', b: 'permanent' });
    await revive('a');
    await run();
    expect(await engine.statuses(mission)).toEqual({ a: 'succeeded', b: 'failed', c: 'skipped' });
    expect(await status(mission)).toBe('failed');
    await revive('b');
    expect([await run(), await run()]).toEqual([['b'], ['c']]);
    expect(await status(mission)).toBe('succeeded');
  });
});

describe('a cancelled step', () => {
  test.each(['by its worker', 'by hand'])(
    '%s takes what needs it along, and nothing runs it later',
    async (how) => {
      const mission = await engine.mission([
        waits('a', []),
        waits('b', ['a']),
        waits('c', ['b']),
        waits('other', []),
      ]);
      if (how === 'by hand')
        await db.sql("update ops_mission_steps set status = 'cancelled' where key = 'a'");
      await run({ a: 'cancelled' });
      expect(await engine.statuses(mission)).toEqual({
        a: 'cancelled',
        b: 'skipped',
        c: 'skipped',
        other: 'succeeded',
      });
      expect(await status(mission)).toBe('cancelled');
      await advanceClock(db.sql, '1 day');
      await engine.beat();
      expect(await engine.claim()).toEqual([]);
      await revive('a');
      expect(await engine.statuses(mission)).toMatchObject({ a: 'queued', b: 'blocked', c: 'blocked' });
      expect([await run(), await run(), await run()]).toEqual([['a'], ['b'], ['c']]);
      expect(await status(mission)).toBe('succeeded');
    },
  );
});
