/** The loop is closed and bounded: depth, repeats and fan-out, and who may hear the loop's own events. */
import { describe, expect, test } from 'vitest';
import { type Json, noop, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const pattern = (id: string, event_type: Json, more: { [key: string]: Json } = {}) => ({
  id,
  event_type,
  template: { title: id, steps: [noop('one')] },
  ...more,
});
const fired = async (id?: string) =>
  (await db.sql('select from ops_agent_reactions where pattern_id = coalesce($1, pattern_id)', [id ?? null]))
    .length;
const suppressed = () => db.sql("select data from ops_agent_events where type = 'loop:suppressed'");

/** Turns the whole loop until nothing moves, at most this many times; answers how many turns did something. */
async function turn(most = 40): Promise<number> {
  for (let turns = 0; turns < most; turns++) {
    const rounds = await engine.beat();
    const claimed = await engine.claim(100);
    if (claimed.length > 0) await engine.complete(claimed);
    else if (rounds.every(({ triggerResult }) => triggerResult.events === 0)) return turns;
  }
  return most;
}

/** Events of the loop itself at a place in a chain, as if missions had raised them. */
const raise = (
  count: number,
  { depth = 1, chain = [] as string[], root = '00000000-0000-4000-8000-000000000001' } = {},
) =>
  db.sql(
    `insert into ops_agent_events (type, source, trust, root_id, depth, chain)
     select 'step:noop:succeeded', 'ops-loop', 'loop', $4, $2, $3 from generate_series(1, $1)`,
    [count, depth, chain, root],
  );

describe('loop limits', () => {
  test('end a pattern that feeds itself after three rounds', async () => {
    await engine.patterns(pattern('self', ['a:b', 'step:noop:succeeded']));
    await engine.emit('a:b');
    expect(await turn()).toBeLessThan(40);
    expect(await fired()).toBe(3);
    expect(await suppressed()).toMatchObject([
      { data: { limit: 'max_repeats', pattern_id: 'self', depth: 3 } },
    ]);
  });

  test('end a chain of many patterns at depth eight', async () => {
    const names = Array.from({ length: 12 }, (_, n) => `p${n}`);
    await engine.patterns(
      ...names.map((id, n) =>
        pattern(id, n === 0 ? 'a:b' : 'mission:succeeded', n === 0 ? {} : { where: `$.depth == ${n}` }),
      ),
    );
    await engine.emit('a:b');
    await turn();
    expect(await fired()).toBe(8);
    expect(await suppressed()).toMatchObject([{ data: { limit: 'max_depth', depth: 8 } }]);
  });

  test('bound what one root event leads to, also within one batch and under beats at once', async () => {
    await engine.setPolicy('loop_limits', { max_fan_out: 5 });
    await engine.patterns(pattern('p', 'step:noop:succeeded'), pattern('q', 'step:noop:succeeded'));
    await raise(30);
    await Promise.all(
      Array.from({ length: 10 }, () => engine.port.heartbeat({ source: 'reactive', eventBatch: 6 })),
    );
    await engine.beat();
    expect(await fired()).toBe(5);
    const said = await db.sql(
      "select data ->> 'pattern_id' as p from ops_agent_events where type = 'loop:suppressed' order by 1",
    );
    expect(said).toEqual([{ p: 'p' }, { p: 'q' }]);
    await raise(1, { root: '00000000-0000-4000-8000-000000000002' });
    await engine.beat();
    expect(await fired()).toBe(7);
  });

  test('count what fired, not what a cooldown kept from firing', async () => {
    await engine.setPolicy('loop_limits', { max_fan_out: 5 });
    await engine.patterns(pattern('rare', 'step:noop:succeeded', { cooldown_minutes: 60 }));
    await raise(20);
    await engine.beat();
    await engine.patterns(pattern('other', 'step:noop:succeeded'));
    await raise(1);
    await engine.beat();
    expect(await fired('rare')).toBe(1);
    expect(await fired('other')).toBe(1);
  });

  test('of zero let nothing of the loop itself fire', async () => {
    await engine.patterns(pattern('p', ['a:b', 'step:noop:succeeded']));
    for (const limits of [{ max_depth: 0 }, { max_fan_out: 0 }, { max_repeats: 0 }]) {
      await engine.setPolicy('loop_limits', limits);
      await raise(1);
      await engine.beat();
    }
    expect(await fired()).toBe(0);
    await engine.emit('a:b');
    await engine.beat();
    expect(await fired()).toBe(1);
  });

  test.each([
    ['proposal:waiting', { risk_level: 'critical' }, { enabled: true, allowed_step_kinds: ['noop'] }],
    ['proposal:approved', {}, { enabled: true, allowed_step_kinds: ['noop'], max_risk_level: 'critical' }],
  ])('hold for patterns on %s too', async (type, more, auto) => {
    // Events of proposals belong to the chain of their proposal, not to one of their own.
    await engine.setPolicy('auto_approve', auto);
    const template = { title: 'again', steps: [noop('one')], ...more };
    await engine.patterns({ id: 'p', event_type: ['a:b', type], template });
    await engine.emit('a:b');
    for (let round = 0; round < 12; round++) {
      await engine.beat();
      const waiting = await engine.port.listProposals({ status: 'pending' });
      if (type === 'proposal:approved')
        for (const { id } of waiting) await engine.port.approveProposal({ id });
    }
    expect(await fired()).toBeLessThanOrEqual(3);
  });

  test('hold for patterns on loop:suppressed too', async () => {
    await engine.patterns(pattern('self', ['a:b', 'step:noop:succeeded', 'loop:suppressed']));
    await engine.emit('a:b');
    expect(await turn()).toBeLessThan(40);
  });
});

describe('an event of the loop itself', () => {
  const hears = async (event_type: Json, more: { [key: string]: Json } = {}) => {
    await engine.patterns(pattern('p', event_type, more));
    await engine.mission([noop('one')]);
    await engine.complete(await engine.claim());
    await engine.beat();
    return fired();
  };

  test.each<[Json, number]>([
    ['*', 0],
    ['*:succeeded', 0],
    ['step:*', 1],
    ['step:noop:succeeded', 1],
    ['step:*:succeeded', 1],
    [['*', 'mission:succeeded'], 1],
  ])('matches %j only by its prefix', async (event_type, count) => {
    expect(await hears(event_type)).toBe(count);
  });

  test('matches a pattern that starts with a wildcard when that allows it', async () => {
    expect(await hears('*:succeeded', { allow_system: true })).toBe(2);
  });

  test('is born closed when no enabled pattern can match it, and open when one can', async () => {
    await hears('mission:succeeded', { where: '$.data.never' });
    expect(
      await db.sql(
        'select type, outcome, processed_at is not null as closed, revision is not null as asked from ops_agent_events order by type',
      ),
    ).toEqual([
      { type: 'mission:succeeded', outcome: 'unmatched', closed: true, asked: true },
      { type: 'step:noop:succeeded', outcome: 'unmatched', closed: true, asked: false },
    ]);
  });

  test('carries root, depth and chain from the event that began it', async () => {
    await engine.patterns(
      pattern('first', 'a:b'),
      pattern('second', 'mission:succeeded', { where: '$.depth == 1' }),
    );
    const { id } = await engine.emit('a:b');
    await turn();
    expect(
      await db.sql(
        "select depth, chain, root_id = $1 as ours from ops_agent_events where type = 'mission:succeeded' order by depth",
        [id],
      ),
    ).toEqual([
      { depth: 1, chain: ['first'], ours: true },
      { depth: 2, chain: ['first', 'second'], ours: true },
    ]);
  });

  test("may be brought by a step with its result, once, but not in the loop's own name", async () => {
    await engine.mission([noop('one')]);
    const leases = await engine.claim();
    const results = leases.map(({ id, lease_epoch }) => ({
      step_id: id,
      lease_epoch,
      result: {},
      events: [{ type: 'report:written', data: { n: 1 } }, { type: 'mission:succeeded' }],
    }));
    await engine.port.completeSteps({ worker: 'w', results });
    await engine.port.completeSteps({ worker: 'w', results });
    const types = (await db.sql('select type from ops_agent_events order by type')).map(({ type }) => type);
    expect(types).toEqual([
      'loop:event_refused',
      'mission:succeeded',
      'report:written',
      'step:noop:succeeded',
    ]);
  });
});
