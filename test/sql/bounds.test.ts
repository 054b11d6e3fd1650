/** Bounds of one pattern: probability that never rolls twice, cooldowns and limits that hold under beats at once. */
import { describe, expect, test } from 'vitest';
import { advanceClock, setClock } from '../support/clock.js';
import { type Json, noop, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const pattern = (more: { [key: string]: Json }) => ({
  id: 'p',
  event_type: 'a:b',
  template: { title: 'work', steps: [noop('one')] },
  ...more,
});
const decisions = () =>
  db.sql(`select d.outcome, d.clause, d.detail from ops_event_decisions d join ops_agent_events e on e.id = d.event_id
    order by e.created_at`);
const outcomes = async () =>
  (await db.sql('select outcome from ops_agent_events order by created_at')).map((r) => r.outcome);
const fired = async () => (await db.sql('select from ops_agent_reactions')).length;

describe('probability', () => {
  test('is the same on every retry, close to its share, and a part of the larger share', async () => {
    const events = Array.from({ length: 400 }, (_, n) => ({ type: 'a:b', data: { n } }));
    await engine.patterns(pattern({ probability: 0.3 }));
    await engine.port.emitEvents({ events });
    const firing = async () => {
      await engine.beat();
      return (
        await db.sql("select event_id from ops_event_decisions where outcome = 'fired' order by 1")
      ).map((r) => r.event_id);
    };
    /** The same events, open again, as if they had never fired. */
    const forget = () =>
      db.sql(`select set_config('ops.engine', 'on', true);
        delete from ops_mission_steps; delete from ops_missions; delete from ops_mission_proposals;
        delete from ops_agent_reactions; delete from ops_event_decisions;
        update ops_agent_events set processed_at = null`);
    const first = await firing();
    expect(first.length).toBeGreaterThan(80);
    expect(first.length).toBeLessThan(160);
    await forget();
    expect(await firing()).toEqual(first);
    await forget();
    await engine.patterns(pattern({ probability: 0.6 }));
    expect(await firing()).toEqual(expect.arrayContaining(first));
  });
});

describe('a cooldown', () => {
  test('lets exactly one fire under twenty beats at once, and says until when', async () => {
    await engine.patterns(pattern({ cooldown_minutes: 10 }));
    await engine.port.emitEvents({ events: Array.from({ length: 200 }, () => ({ type: 'a:b' })) });
    await Promise.all(
      Array.from({ length: 20 }, () => engine.port.heartbeat({ source: 'reactive', eventBatch: 10 })),
    );
    await engine.beat();
    expect(await fired()).toBe(1);
    const { n, until } = await db.one(
      "select count(*)::int as n, min(detail ->> 'until') as until from ops_event_decisions where clause = 'cooldown'",
    );
    expect(n).toBe(199);
    expect(Date.parse(String(until)) - Date.now()).toBeGreaterThan(9 * 60_000);
    expect(await db.sql("select from ops_agent_events where outcome = 'suppressed'")).toHaveLength(199);
  });

  test('ends on the minute, and is split by its key', async () => {
    await setClock(db.sql, { at: '2026-03-01T10:00:00Z' });
    await engine.patterns(pattern({ cooldown_minutes: 10, cooldown_key: '{{event.data.repo}}' }));
    const go = async (repo: string) => {
      await engine.emit('a:b', { repo });
      await engine.beat();
      return fired();
    };
    expect([await go('x'), await go('x'), await go('y')]).toEqual([1, 1, 2]);
    await advanceClock(db.sql, '9 minutes 59 seconds');
    expect(await go('x')).toBe(2);
    await advanceClock(db.sql, '1 second');
    expect([await go('x'), await go('x')]).toEqual([3, 3]);
  });
});

describe('a limit', () => {
  test('is exact under twenty beats at once, by its key, and goes to the oldest events', async () => {
    await engine.patterns(pattern({ limit: { count: 3, per_minutes: 60, key: '{{event.data.repo}}' } }));
    await engine.port.emitEvents({
      events: Array.from({ length: 60 }, (_, n) => ({ type: 'a:b', data: { repo: n % 2, n } })),
    });
    await engine.beat();
    const numbers = await db.sql(
      "select (e.data ->> 'n')::int as n from ops_agent_reactions r join ops_agent_events e on e.id = r.event_id order by 1",
    );
    expect(numbers.map(({ n }) => n)).toEqual([0, 1, 2, 3, 4, 5]);
    await engine.port.emitEvents({
      events: Array.from({ length: 60 }, (_, n) => ({ type: 'a:b', data: { repo: `new ${n % 2}` } })),
    });
    await Promise.all(
      Array.from({ length: 20 }, () => engine.port.heartbeat({ source: 'reactive', eventBatch: 4 })),
    );
    await engine.beat();
    expect(await fired()).toBe(12);
  });

  test('turns with its window', async () => {
    await setClock(db.sql, { at: '2026-03-01T10:00:00Z' });
    await engine.patterns(pattern({ limit: { count: 1, per_minutes: 60 } }));
    for (const by of ['0 minutes', '59 minutes', '1 minute', '59 minutes']) {
      await advanceClock(db.sql, by);
      await engine.emit('a:b');
      await engine.beat();
    }
    expect(await outcomes()).toEqual(['fired', 'suppressed', 'fired', 'suppressed']);
    expect((await decisions())[1]).toMatchObject({
      clause: 'limit',
      detail: { count: 1, until: expect.stringContaining('11:00:00') },
    });
  });
});
