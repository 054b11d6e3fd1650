/** Breakers: what keeps failing is paused by the loop itself, visibly, and only that. */
import { describe, expect, test } from 'vitest';
import { advanceClock } from '../support/clock.js';
import { noop, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const fails = async (count: number, step = noop('one')) => {
  for (let n = 0; n < count; n++) await engine.mission([step]);
  await engine.fail(await engine.claim(count), 'permanent', 'no such host');
};
const succeeds = async () => {
  await engine.mission([noop('one')]);
  await engine.complete(await engine.claim());
};
const paused = async () => {
  const rows = await db.sql<{ scopes: Record<string, { mode: string; reason: string }> }>(
    "select value -> 'scopes' as scopes from ops_policy where key = 'switches'",
  );
  return Object.keys(rows[0]?.scopes ?? {});
};

describe('ten dead letters in a row', () => {
  test('pause their executor with the cause, an event, and the way out', async () => {
    await fails(10);
    await engine.beat();
    expect(await paused()).toEqual(['executor:noop']);
    const { data } = await db.one("select data from ops_agent_events where type = 'switch:breaker_opened'");
    expect(data).toMatchObject({
      scope: 'executor:noop',
      consecutive: 10,
      error: 'no such host',
      resume: 'ops-loop resume executor:noop',
    });
    const { reason } = await db.one(
      "select reason from ops_policy_audit where policy_key = 'switches' order by version desc limit 1",
    );
    expect(reason).toBe('breaker: 10 dead letters in a row, the last: no such host');
    await engine.mission([noop('one')]);
    expect(await engine.claim()).toEqual([]);
  });

  test('open the breaker once, under beats at once and beat after beat', async () => {
    await fails(12);
    const rounds = await Promise.all(
      Array.from({ length: 10 }, () => engine.port.heartbeat({ source: 'reactive' })),
    );
    await engine.beat();
    expect(rounds.flatMap(({ failures }) => failures)).toEqual([]);
    expect(await db.sql("select from ops_agent_events where type = 'switch:breaker_opened'")).toHaveLength(1);
  });

  test('with a success among the last ten, or over more than the window, are no row', async () => {
    await fails(5);
    await succeeds();
    await fails(9);
    await engine.beat();
    expect(await paused()).toEqual([]);
    await advanceClock(db.sql, '61 minutes');
    await fails(9);
    await engine.beat();
    expect(await paused()).toEqual([]);
    await fails(1);
    await engine.beat();
    expect(await paused()).toEqual(['executor:noop']);
  });

  test('after it was resumed need another ten', async () => {
    await fails(10);
    await engine.beat();
    await engine.port.resume({ scope: 'executor:noop' });
    await engine.beat();
    await fails(9);
    await engine.beat();
    expect(await paused()).toEqual([]);
    await fails(1);
    await engine.beat();
    expect(await paused()).toEqual(['executor:noop']);
  });

  test('of one pattern pause that pattern as well', async () => {
    await engine.patterns({ id: 'p', event_type: 'a:b', template: { title: 'work', steps: [noop('one')] } });
    await engine.port.emitEvents({ events: Array.from({ length: 10 }, () => ({ type: 'a:b' })) });
    await engine.beat();
    await engine.fail(await engine.claim(), 'permanent');
    await engine.beat();
    expect((await paused()).sort()).toEqual(['executor:noop', 'pattern:p']);
  });
});

test('steps that never ran say nothing about their executor', async () => {
  // A template that asks for an output nobody gives would have paused noop for all.
  for (let n = 0; n < 10; n++)
    await engine.mission([noop('a'), noop('b', { params: { echo: '{{steps.a.result.gone}}' } })]);
  await engine.complete(await engine.claim());
  expect(await db.sql('select from ops_step_dead_letters')).toHaveLength(10);
  await advanceClock(db.sql, '1 second');
  await engine.beat();
  expect(await paused()).toEqual([]);
});

test('the policy says how many and how long', async () => {
  await engine.setPolicy('worker_policy', { breaker: { consecutive: 2, window_minutes: 5 } });
  await fails(1);
  await advanceClock(db.sql, '6 minutes');
  await fails(1);
  await engine.beat();
  expect(await paused()).toEqual([]);
  await fails(1);
  await engine.beat();
  expect(await paused()).toEqual(['executor:noop']);
});
