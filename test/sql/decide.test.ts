/** Decisions: every clause of the matrix says no in its own words, once, and in the stated order. */
import { describe, expect, test } from 'vitest';
import { type Json, noop, only, useEngine } from './engine-kit.js';

type Pattern = { [key: string]: Json };

const engine = useEngine();
const { db } = engine;

const template: Json = { title: 'work', steps: [noop('one')] };
const pattern = (more: Pattern = {}): Pattern => ({ id: 'p', event_type: 'a:b', template, ...more });
const decisions = () =>
  db.sql(`select d.pattern_id, d.outcome, d.clause, d.detail from ops_event_decisions d join ops_agent_events e on e.id = d.event_id
    order by e.created_at, d.pattern_id`);
const decision = async () => only(await decisions());
const outcomes = async () =>
  (await db.sql('select outcome from ops_agent_events order by created_at')).map((r) => r.outcome);
const fired = async () => (await db.sql('select from ops_agent_reactions')).length;

/** Emits one event past a matrix of one pattern and decides it. */
async function ask(more: Pattern, data: { [key: string]: Json } = {}, event: object = {}) {
  await engine.patterns(pattern(more));
  await engine.port.emitEvents({ events: [{ type: 'a:b', data, ...event }] });
  await engine.beat();
  return decision();
}

describe('a clause', () => {
  test.each<[string, Pattern, { [key: string]: Json }, object, object]>([
    ['source', { source: 'github' }, {}, { source: 'gitlab' }, { outcome: 'unmatched', clause: 'source' }],
    [
      'source in a list',
      { source: ['x', 'y'] },
      {},
      { source: 'z' },
      { outcome: 'unmatched', clause: 'source' },
    ],
    [
      'tags, all of them',
      { tags: ['a', 'b'] },
      { tags: ['a'] },
      {},
      { outcome: 'unmatched', clause: 'tags' },
    ],
    ['tags that are no list', { tags: ['a'] }, { tags: 'a' }, {}, { outcome: 'unmatched', clause: 'tags' }],
    [
      'where, false',
      { where: '$.data.n > 5' },
      { n: 5 },
      {},
      { outcome: 'unmatched', clause: 'where', detail: { value: false } },
    ],
    [
      'where, null',
      { where: '$.data.n' },
      { n: null },
      {},
      { outcome: 'unmatched', clause: 'where', detail: { value: null } },
    ],
    ['where, nothing there', { where: '$.data.n' }, {}, {}, { outcome: 'unmatched', clause: 'where' }],
    [
      'where, an error',
      { where: 'strict $.data.n.double()' },
      { n: 'x' },
      {},
      { outcome: 'unmatched', clause: 'where' },
    ],
    // It compresses well: the bound is on the data, not on its stored size.
    [
      'where over 64 kB',
      { where: '$.data.n == 1' },
      { n: 1, pad: 'a'.repeat(70_000) },
      {},
      { outcome: 'failed', clause: 'where', detail: { error: expect.stringContaining('64 kB') } },
    ],
    [
      'probability',
      { probability: 0 },
      {},
      {},
      { outcome: 'unmatched', clause: 'probability', detail: { probability: 0, roll: expect.any(Number) } },
    ],
    [
      'a missing path',
      { template: { title: '{{event.data.gone}}', steps: [noop('one')] } },
      {},
      {},
      {
        outcome: 'failed',
        clause: 'render',
        detail: { error: expect.stringMatching(/^\$\.title: event\.data\.gone is missing/) },
      },
    ],
    [
      'a missing path in a key',
      { dedupe_key: '{{event.data.gone}}' },
      {},
      {},
      { outcome: 'failed', clause: 'render', detail: { error: expect.stringContaining('event.data.gone') } },
    ],
    [
      'a missing path in a cooldown',
      { cooldown_minutes: 1, cooldown_key: '{{event.data.gone}}' },
      {},
      {},
      { outcome: 'failed', clause: 'render' },
    ],
    [
      'params that do not fit once rendered',
      { template: { title: 't', steps: [noop('one', { params: { sleep_ms: '{{event.data.n}}' } })] } },
      { n: 'long' },
      {},
      {
        outcome: 'failed',
        clause: 'render',
        detail: { error: expect.stringContaining('$.steps[0].params.sleep_ms') },
      },
    ],
  ])('says no: %s', async (_what, more, data, event, expected) => {
    expect(await ask(more, data, event)).toMatchObject(expected);
    expect(await fired()).toBe(0);
    expect(await outcomes()).toEqual([(expected as { outcome: string }).outcome]);
  });

  test.each<[string, Pattern, { [key: string]: Json }, object]>([
    ['a source in the list', { source: ['github', 'x'] }, {}, { source: 'x' }],
    ['more tags than asked for', { tags: ['a', 'b'] }, { tags: ['c', 'b', 'a'] }, {}],
    ['a first item that is neither false nor null', { where: '$.data.list[*]' }, { list: [0, false] }, {}],
    [
      'a date that has come',
      { where: '$.created_at.datetime() > "2020-01-01T00:00:00+00:00".datetime()' },
      {},
      {},
    ],
    ['64 kB and no condition to test', { probability: 1 }, { pad: 'b'.repeat(70_000) }, {}],
  ])('lets through: %s', async (_what, more, data, event) => {
    expect(await ask(more, data, event)).toMatchObject({ outcome: 'fired', clause: null });
    expect(await db.sql('select from ops_missions')).toHaveLength(1);
  });

  test('of a paused pattern suppresses, and the first that says no is named', async () => {
    await engine.port.pause({ scope: 'pattern:p' });
    expect(await ask({ source: 'nobody', probability: 0 })).toMatchObject({
      outcome: 'suppressed',
      clause: 'switch',
      detail: { mode: 'drain' },
    });
    await engine.port.resume({ scope: 'pattern:p' });
    for (const clause of ['source', 'tags', 'where', 'probability']) {
      const noes: Pattern = { source: 'nobody', tags: ['x'], where: '$.data.x', probability: 0 };
      const later = Object.entries(noes).slice(Object.keys(noes).indexOf(clause));
      await db.sql('delete from ops_event_decisions');
      expect(await ask(Object.fromEntries(later))).toMatchObject({ clause });
    }
  });

  test('is asked of every candidate, and types that do not match leave no row', async () => {
    await engine.patterns(
      pattern({ id: 'yes' }),
      pattern({ id: 'no', where: '$.data.x' }),
      pattern({ id: 'other', event_type: 'c:d' }),
      pattern({ id: 'off', enabled: false }),
    );
    await engine.emit('a:b');
    await engine.beat();
    expect(await decisions()).toMatchObject([
      { pattern_id: 'no', outcome: 'unmatched' },
      { pattern_id: 'yes', outcome: 'fired' },
    ]);
    expect(await outcomes()).toEqual(['fired']);
  });
});

describe('a poisonous event', () => {
  test('is closed as failed after a try of its own, and the rest goes on', async () => {
    await engine.patterns(pattern());
    await engine.port.emitEvents({ events: [1, 2, 3].map((n) => ({ type: 'a:b', data: { n } })) });
    await db.sql(`create function ops_test.poison() returns trigger language plpgsql as $$ begin
        if new.event_id = (select id from public.ops_agent_events where data ->> 'n' = '2') then raise exception 'poison'; end if;
        return new; end $$;
      create trigger poison before insert on ops_event_decisions for each row execute function ops_test.poison()`);
    try {
      const [round] = await engine.beat();
      expect(round?.triggerResult).toEqual({ events: 3, queued: 2 });
    } finally {
      await db.sql('drop function ops_test.poison cascade');
    }
    expect(await outcomes()).toEqual(['fired', 'failed', 'fired']);
    expect(
      await db.one("select failure_count, last_error from ops_agent_events where outcome = 'failed'"),
    ).toEqual({ failure_count: 1, last_error: 'poison' });
    await db.sql("update ops_agent_events set processed_at = null where outcome = 'failed'");
    await engine.beat();
    expect(await outcomes()).toEqual(['fired', 'fired', 'fired']);
  });

  test('is not what a deadlock makes of it: that one stays open', async () => {
    await engine.patterns(pattern());
    await engine.emit('a:b');
    await db.sql(`create function ops_test.busy() returns trigger language plpgsql as $$ begin raise exception 'busy' using errcode = '40P01'; end $$;
      create trigger busy before insert on ops_event_decisions for each row execute function ops_test.busy()`);
    const round = await engine.port
      .heartbeat({ source: 'reactive' })
      .finally(() => db.sql('drop function ops_test.busy cascade'));
    expect(round.triggerResult).toEqual({ events: 0, queued: 0 });
    expect(await outcomes()).toContain(null);
    await engine.beat();
    expect(await fired()).toBe(1);
  });
});
