/** Graphs of steps: fan-out, fan-in, lists, dry runs, and random ones that must always come to an end. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seed } from '../support/seed.js';
import { type Json, noop, only, type StepTemplate, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const each = (key: string, items: Json, more: StepTemplate = {}, max?: number): StepTemplate =>
  noop(key, {
    for_each: { items, ...(max !== undefined && { max }) },
    params: { echo: '{{item}}' },
    ...more,
  });
/** Runs all that can run; `result` says what a step returns. */
const drain = async (result: (key: string) => Json = () => ({})): Promise<string[]> => {
  const ran: string[] = [];
  for (;;) {
    const claimed = await engine.claim();
    if (claimed.length === 0) return ran;
    for (const step of claimed) {
      await engine.complete([step], result(step.key));
      ran.push(step.key);
    }
  }
};

describe('a step over a list', () => {
  test('is one step per item, each with its item and place, and its result is the list of theirs', async () => {
    const mission = await engine.mission([
      noop('scan'),
      each('look', '{{steps.scan.result.found}}', {
        params: { echo: { name: '{{item.name}}', nth: '{{index}}', text: 'number {{index}}' } },
      }),
      noop('sum', { params: { echo: '{{steps.look.result}}' } }),
    ]);
    await engine.complete(await engine.claim(), { found: [{ name: 'a' }, { name: 'b' }] });
    const items = await engine.claim();
    expect(items.map(({ key, params }) => [key, params])).toEqual([
      ['look[0]', { echo: { name: 'a', nth: 0, text: 'number 0' } }],
      ['look[1]', { echo: { name: 'b', nth: 1, text: 'number 1' } }],
    ]);
    for (const item of [...items].reverse()) await engine.complete([item], { did: item.key });
    expect(only(await engine.claim()).params).toEqual({ echo: [{ did: 'look[0]' }, { did: 'look[1]' }] });
    expect(await engine.missionRow(mission)).toMatchObject({ open_steps: 1, status: 'running' });
  });

  test('that is empty has an empty result at once', async () => {
    const mission = await engine.mission([each('none', []), noop('after')]);
    expect(await drain()).toEqual(['after']);
    expect(await engine.step(mission, 'none')).toMatchObject({ status: 'succeeded', result: [] });
  });

  test.each([
    ['has more items than its max', each('many', [1, 2, 3], {}, 2), 'has 3 items, more than its max of 2'],
    ['names no list', each('odd', '{{mission.title}}'), 'is no list'],
    [
      'asks an item for what it has not',
      each('miss', [{}], { params: { echo: '{{item.x}}' } }),
      'item.x is missing',
    ],
  ])('fails for good when it %s', async (_, step, error) => {
    const mission = await engine.mission([step]);
    const row = await engine.step(mission, String(step.key));
    expect(row).toMatchObject({ status: 'failed', last_error: expect.stringContaining(error) });
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'failed' });
  });

  test('never renders what an item says', async () => {
    await engine.mission([noop('scan'), each('look', '{{steps.scan.result.found}}')]);
    await engine.complete(await engine.claim(), { found: ['{{mission.id}}', '{{item}}'] });
    expect((await engine.claim()).map(({ params }) => params)).toEqual([
      { echo: '{{mission.id}}' },
      { echo: '{{item}}' },
    ]);
  });

  test('whose item fails fails the mission, and goes on from there when it is retried', async () => {
    const mission = await engine.mission([each('work', [1, 2, 3]), noop('after')]);
    const [first, second, third] = await engine.claim();
    if (!first || !second || !third) throw new Error('three items were expected');
    await engine.complete([first, third]);
    await engine.fail([second], 'permanent');
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'failed' });
    expect(await engine.statuses(mission)).toMatchObject({
      work: 'skipped',
      'work[1]': 'failed',
      after: 'skipped',
    });
    await engine.port.retryMission({ id: mission });
    expect(await drain()).toEqual(['work[1]', 'after']);
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'succeeded' });
  });

  test('whose item may fail has null in its place', async () => {
    const mission = await engine.mission([each('work', [1, 2], { on_failure: 'continue' })]);
    const [first, second] = await engine.claim();
    if (!first || !second) throw new Error('two items were expected');
    await engine.fail([first], 'permanent');
    await engine.complete([second], 'fine');
    expect(await engine.step(mission, 'work')).toMatchObject({ status: 'succeeded', result: [null, 'fine'] });
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'succeeded' });
  });

  test('is cancelled with its items', async () => {
    const mission = await engine.mission([each('work', [1, 2]), noop('after')]);
    const { id } = await engine.step(mission, 'work');
    await engine.port.cancelStep({ id, reason: 'not today' });
    expect(await engine.statuses(mission)).toEqual({
      work: 'cancelled',
      'work[0]': 'cancelled',
      'work[1]': 'cancelled',
      after: 'skipped',
    });
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'cancelled' });
  });

  test.each([
    ['an item outside of a list', [noop('a', { params: { echo: '{{item}}' } })], '$.steps[0].params.echo'],
    ['a list in text', [each('a', 'x {{event.data.l}}')], '$.steps[0].for_each.items'],
    ['a list of a later step', [each('a', '{{steps.b.result}}'), noop('b')], '$.steps[0].for_each.items'],
    ['a max of none', [each('a', [], {}, 0)], '$.steps[0].for_each.max'],
  ])('is refused when it is proposed with %s', async (_, steps, path) => {
    await expect(engine.mission(steps)).rejects.toMatchObject({
      code: 'OPS_004',
      message: expect.stringContaining(path),
    });
  });
});

describe('a step that is cancelled by itself', () => {
  test('takes with it what waits for it, and lets the others finish', async () => {
    const mission = await engine.mission([
      noop('a', { depends_on: [] }),
      noop('b', { depends_on: [] }),
      noop('after-a', { depends_on: ['a'] }),
      noop('after-b', { depends_on: ['b'] }),
    ]);
    const { id } = await engine.step(mission, 'a');
    expect(await engine.port.cancelStep({ id })).toMatchObject({ status: 'cancelled' });
    expect(await engine.port.cancelStep({ id })).toMatchObject({ status: 'cancelled' });
    expect(await drain()).toEqual(['b', 'after-b']);
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'cancelled' });
  });

  test('while it runs is asked to stop with its renewal', async () => {
    await engine.mission([noop('a')]);
    const claimed = await engine.claim();
    await engine.port.cancelStep({ id: only(claimed).id });
    expect(only(await engine.renew(claimed))).toMatchObject({ held: true, cancel_requested: true });
  });
});

describe('a dry run', () => {
  test('goes through every state, lists and results that never come included', async () => {
    const { mission_id } = await engine.port.createProposal({
      template: {
        title: 'only to see',
        dry_run: true,
        steps: [
          { key: 'talk', kind: 'openclaw', params: { mode: 'exec', message: 'do it' } },
          noop('use', { params: { echo: '{{steps.talk.result.final}}' } }),
          each('all', '{{steps.use.result.list}}'),
        ],
      },
    });
    if (mission_id === null) throw new Error('the dry run was not approved');
    const [first] = await engine.claim(1, ['openclaw', 'noop']);
    expect(first).toMatchObject({ key: 'talk', dry_run: true });
    if (first !== undefined) await engine.complete([first], { dry_run: true });
    expect(await drain()).toEqual(['use']);
    expect(await engine.missionRow(mission_id)).toMatchObject({ status: 'succeeded' });
  });

  test('is what a canary does not take, the same events each time', async () => {
    await engine.patterns({
      id: 'p',
      event_type: 'go:p',
      canary: 0.25,
      template: { title: 'w', steps: [noop('a')] },
    });
    await engine.port.emitEvents({ events: Array.from({ length: 200 }, () => ({ type: 'go:p' })) });
    await engine.beat();
    const real = await db.sql('select distinct mission_id from ops_mission_steps where not dry_run');
    expect(real.length).toBeGreaterThan(25);
    expect(real.length).toBeLessThan(80);
    const rolled = await db.one(
      "select count(*)::int as n from ops_agent_events where ops_roll(id, 'p:canary') < 0.25 and type = 'go:p'",
    );
    expect(rolled.n).toBe(real.length);
  });
});

type Drawn = {
  needs: number[];
  stop: boolean;
  end: 'done' | 'fails' | 'cancelled';
  when: boolean;
  items: number | null;
};
const drawn: fc.Arbitrary<Drawn> = fc.record({
  needs: fc.array(fc.nat(7), { maxLength: 3 }),
  stop: fc.boolean(),
  end: fc.constantFrom('done', 'done', 'done', 'fails', 'cancelled'),
  when: fc.constantFrom(true, true, true, false),
  items: fc.constantFrom(null, null, null, 0, 2),
});

test('a random graph always ends, its status follows from its steps at every turn, and nothing waits for the ended', async () => {
  const checked = fc.asyncProperty(fc.array(drawn, { minLength: 1, maxLength: 8 }), async (graph) => {
    const steps = graph.map(({ needs, stop, when, items }, n) =>
      noop(`s${n}`, {
        depends_on: [...new Set(needs.filter((need) => need < n).map((need) => `s${need}`))],
        on_failure: stop ? 'stop' : 'continue',
        when: when ? '$.mission.title != ""' : '$.mission.title == ""',
        max_retries: 1,
        ...(items !== null && { for_each: { items: Array.from({ length: items }, (_, i) => i) } }),
      }),
    );
    const mission = await engine.mission(steps);
    for (let turn = 0; turn < 60; turn++) {
      expect(await engine.port.checkInvariants()).toEqual([]);
      const [step] = await engine.claim(1);
      if (step === undefined) break;
      const end = graph[Number(/^s(\d+)/.exec(step.key)?.[1])]?.end;
      if (end === 'done') await engine.complete([step]);
      else if (end === 'fails') await engine.fail([step], 'permanent');
      else {
        await engine.port.cancelStep({ id: step.id });
        await engine.fail([step], 'cancelled');
      }
    }
    const { completed_at, open_steps } = await engine.missionRow(mission);
    expect({ ended: completed_at !== null, open_steps }).toEqual({ ended: true, open_steps: 0 });
  });
  await fc.assert(checked, { numRuns: Number(process.env.OPS_TEST_ROUNDS ?? 25), seed });
}, 120_000);
