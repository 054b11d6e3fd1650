/** Lists of any number and length: each round and each answer spreads a bounded part of them, and none is forgotten. */
import { describe, expect, test } from 'vitest';
import { hold, type Json, noop, only, race, type StepTemplate, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

/** As many items as one transaction spreads (`ops_spread_left`); no list is longer than that. */
const budget = 1000;

const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n);
const each = (key: string, items: Json, more: StepTemplate = {}): StepTemplate =>
  noop(key, {
    for_each: { items, max: budget },
    params: { echo: '{{item}}' },
    depends_on: [],
    ...more,
  });
const items = async (): Promise<number> =>
  (
    await db.one<{ n: number }>(
      'select count(*)::int as n from ops_mission_steps where parent_id is not null',
    )
  ).n;
const waiting = async (): Promise<number> =>
  (
    await db.one<{ n: number }>(
      "select count(*)::int as n from ops_mission_steps where status = 'blocked' and for_each ? 'waits'",
    )
  ).n;
const drain = async (result: Json = {}): Promise<number> => {
  for (let ran = 0; ; ) {
    const claimed = await engine.claim(500);
    if (claimed.length === 0) return ran;
    await engine.complete(claimed, result);
    ran += claimed.length;
  }
};

describe('a beat', () => {
  test('spreads a bounded number of items, starts what has no list in the same round, and goes on in the next', async () => {
    const template = (...steps: StepTemplate[]) => ({ title: 'w', steps });
    await engine.patterns(
      { id: 'p', event_type: 'go:p', template: template(each('w', '{{event.data.l}}')) },
      { id: 'q', event_type: 'go:q', template: template(noop('plain')) },
    );
    const lists = Array.from({ length: 6 }, () => ({ type: 'go:p', data: { l: numbers(600) } }));
    await engine.port.emitEvents({ events: [...lists, { type: 'go:q' }] });
    const first = await engine.port.heartbeat({ source: 'reactive' });
    expect(first).toMatchObject({ failures: [], more: true, triggerResult: { queued: 7 } });
    // What the mission's own start spread, and what the round's phase did.
    expect(await items()).toBeLessThanOrEqual(2 * budget);
    expect(await waiting()).toBeGreaterThan(0);
    expect(await db.sql("select status from ops_mission_steps where key = 'plain'")).toEqual([
      { status: 'queued' },
    ]);
    let before = await items();
    for (let more = true; more; ) {
      ({ more } = await engine.port.heartbeat({ source: 'reactive' }));
      expect((await items()) - before).toBeLessThanOrEqual(budget);
      before = await items();
    }
    expect([await items(), await waiting()]).toEqual([3600, 0]);
  });

  test('leaves lists of a mission that somebody holds to the next one, and does not ask to be called for them', async () => {
    await engine.mission([each('a', numbers(700)), each('b', numbers(700))]);
    const letGo = await hold(db, 'select from ops_missions for no key update');
    expect(await engine.port.heartbeat({ source: 'reactive' })).toMatchObject({ failures: [], more: false });
    expect([await items(), await waiting()]).toEqual([700, 1]);
    await letGo();
    await engine.beat();
    expect([await items(), await waiting()]).toEqual([1400, 0]);
  });

  test('any number at once make each item once', async () => {
    const missions = await race(6, () => engine.mission([each('a', numbers(600)), each('b', numbers(600))]));
    expect(await waiting()).toBe(6);
    while ((await waiting()) > 0)
      await Promise.all([
        race(4, () => engine.port.heartbeat({ source: 'reactive' })),
        engine.claim(50).then((claimed) => engine.complete(claimed)),
      ]);
    const twice = await db.sql(
      'select parent_id from ops_mission_steps where parent_id is not null group by parent_id, item_index having count(*) > 1',
    );
    expect([await items(), twice]).toEqual([missions.length * 1200, []]);
  });

  test('fails a list that cannot be spread, and spreads the others', async () => {
    const lists = [each('full', numbers(1000)), each('bad', [1]), each('good', [1])];
    const proposals = lists.map((list) => ({ template: { title: 'w', steps: [list] } }));
    await engine.port.createProposals({ proposals });
    expect(await waiting()).toBe(2);
    await db.sql(`
      create function ops_test.poison() returns trigger language plpgsql as $$ begin raise 'poison'; end $$;
      create trigger poison before insert on ops_mission_steps for each row when (new.key = 'bad[0]') execute function ops_test.poison()`);
    try {
      await engine.beat();
      expect(
        await db.sql(
          "select key, status, last_error from ops_mission_steps where key ~ '^(bad|good)' order by key",
        ),
      ).toEqual([
        { key: 'bad', status: 'failed', last_error: 'OPS_004 $.steps[0].for_each: poison' },
        { key: 'good', status: 'blocked', last_error: null },
        { key: 'good[0]', status: 'queued', last_error: null },
      ]);
    } finally {
      await db.sql('drop function ops_test.poison() cascade');
    }
  });
});

test('an answer of a worker spreads a bounded number of items too, and what it leaves is called for at once', async () => {
  const mission = await engine.mission([
    noop('scan'),
    ...['a', 'b', 'c'].map((key) => each(key, '{{steps.scan.result.l}}', { depends_on: ['scan'] })),
    noop('sum', { depends_on: ['a', 'b', 'c'], params: { echo: '{{steps.c.result}}' } }),
  ]);
  await db.sql("update ops_wakeups set waiting = true where channel = 'ops_events'");
  await engine.complete(await engine.claim(), { l: numbers(450) });
  expect([await items(), await waiting()]).toEqual([900, 1]);
  expect(await db.sql("select waiting from ops_wakeups where channel = 'ops_events'")).toEqual([
    { waiting: false },
  ]);
  const { id } = await db.one<{ id: string }>("select id from ops_mission_steps where for_each ? 'waits'");
  const { sentences } = await engine.port.explainStep({ id });
  expect(sentences[0]).toContain('waits for its turn to become one step per item');
  await engine.beat();
  expect(await items()).toBe(1350);
  const ran = await drain(7);
  expect(ran).toBe(1351);
  expect((await engine.step(mission, 'sum')).params).toEqual({ echo: numbers(450).map(() => 7) });
  expect(await engine.missionRow(mission)).toMatchObject({ status: 'succeeded' });
});

test('a list that waits for its turn is asked its condition then, is cancelled with its mission, and can be retried', async () => {
  const steps = [
    each('a', numbers(900)),
    each('b', numbers(900), { when: '$.mission.title == "a mission"' }),
  ];
  const mission = await engine.mission(steps);
  expect(await waiting()).toBe(1);
  await engine.port.cancelMission({ id: mission });
  expect([await items(), await waiting()]).toEqual([900, 0]);
  await engine.port.retryMission({ id: mission });
  await engine.beat();
  expect([await items(), await waiting()]).toEqual([1800, 0]);
});

test('every item has its own params, also beside what is the same for all, and a wrong one names its place', async () => {
  const params = {
    echo: {
      all: '{{event.data.all}}',
      text: '{{event.data.all}} {{item.n}} of {{mission.title}}',
      n: '{{index}}',
    },
  };
  await engine.patterns({
    id: 'p',
    event_type: 'go:p',
    template: { title: 'w', steps: [each('w', '{{event.data.l}}', { params })] },
  });
  await engine.emit('go:p', { all: '{{item}}', l: [{ n: 'x' }, { n: '{{index}}' }] });
  await engine.beat();
  expect((await engine.claim()).map((step) => step.params)).toEqual([
    { echo: { all: '{{item}}', text: '{{item}} x of w', n: 0 } },
    { echo: { all: '{{item}}', text: '{{item}} {{index}} of w', n: 1 } },
  ]);
  const wrong = await engine.mission([
    each('w', [1, 'two', 3, 'four'], { params: { sleep_ms: '{{item}}' } }),
  ]);
  expect((await engine.step(wrong, 'w')).last_error).toMatch(
    /^OPS_004 item 1: \$\.steps\[0\]\.params\.sleep_ms/,
  );
});

test('params that come to more than 16 MB over all items fail the step before they are made', async () => {
  const fat = 'x'.repeat(60_000);
  const mission = await engine.mission([
    noop('scan'),
    each('w', numbers(400), {
      depends_on: ['scan'],
      params: { echo: { fat: '{{steps.scan.result.fat}}', n: '{{item}}' } },
    }),
  ]);
  await engine.complete(await engine.claim(), { fat });
  expect(await engine.step(mission, 'w')).toMatchObject({
    status: 'failed',
    last_error: expect.stringContaining('$.steps[1].params: come to more than 16 MB over 400 items'),
  });
});

test('the condition of a list is asked once: what ends beside its items does not take them back', async () => {
  const mission = await engine.mission([
    noop('b', { depends_on: [] }),
    each('work', [1, 2], { when: '!exists($.steps.b)' }),
    noop('after', { depends_on: ['work'], params: { echo: '{{steps.work.result}}' } }),
  ]);
  const claimed = await engine.claim();
  for (const step of claimed) await engine.complete([step], { did: step.key });
  expect(await engine.step(mission, 'work')).toMatchObject({
    status: 'succeeded',
    result: [{ did: 'work[0]' }, { did: 'work[1]' }],
  });
  expect(only(await engine.claim()).params).toEqual({ echo: [{ did: 'work[0]' }, { did: 'work[1]' }] });
});
