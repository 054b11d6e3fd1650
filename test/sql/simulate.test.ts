/** Simulation: a draft beside the live policy, by the heartbeat's own evaluator, without a single write. */
import { describe, expect, test } from 'vitest';
import { advanceClock, setClock } from '../support/clock.js';
import { type Json, noop, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

type Pattern = { [key: string]: Json };
const pattern = (id: string, more: Pattern = {}): Pattern => ({
  id,
  event_type: 'thing:seen',
  template: { title: `about ${id}`, steps: [noop('one')] },
  ...more,
});
const draftOf = (...patterns: Pattern[]) => ({ reaction_matrix: { patterns } });
const start = '2026-03-01T00:00:00Z';

/** A day of events with every kind of decision, beaten every so often. */
async function aDay(): Promise<void> {
  await setClock(db.sql, { at: start });
  await engine.patterns(
    pattern('plain', { where: '$.data.n < 30' }),
    pattern('rests', { cooldown_minutes: 100, cooldown_key: 'n{{event.data.kind}}' }),
    pattern('limited', { limit: { count: 3, per_minutes: 240, key: '{{event.data.kind}}' } }),
    pattern('maybe', { probability: 0.4 }),
    pattern('tagged', { tags: ['hot'] }),
    pattern('renders', { template: { title: 'about {{event.data.title}}', steps: [noop('one')] } }),
    pattern('follows', { event_type: 'mission:*' }),
  );
  for (let n = 0; n < 48; n++) {
    const data: { [key: string]: Json } = { n, kind: n % 3 };
    if (n % 4 === 0) data.tags = ['hot'];
    if (n % 5 === 0) data.title = `number ${n}`;
    await engine.emit('thing:seen', data);
    if (n % 3 === 0) {
      await engine.beat();
      await engine.complete(await engine.claim(4));
      await engine.beat();
    }
    await advanceClock(db.sql, '20 minutes');
  }
  await engine.beat();
}

describe('the live policy over a recorded day', () => {
  test('decides every event and pattern as it was decided, byte for byte, also in small pages', async () => {
    await aDay();
    const whole = await engine.port.simulate({ since: start, limit: 20_000 });
    expect(whole.recorded).toEqual({ count: 0, starts: 0, stops: 0, first: [] });
    expect(whole.differences.count).toBe(0);
    expect(whole.draft).toEqual(whole.live);
    expect(Object.keys(whole.live.patterns)).toHaveLength(7);
    for (const outcome of ['fired', 'suppressed', 'unmatched', 'failed'])
      expect(JSON.stringify(whole.live.patterns)).toContain(outcome);
    let [cursor, events, differences] = [undefined as { [key: string]: Json } | undefined, 0, 0];
    do {
      const page = await engine.port.simulate({ since: start, limit: 7, cursor });
      events += page.events;
      differences += page.recorded?.count ?? 0;
      cursor = page.cursor ?? undefined;
    } while (cursor !== undefined);
    expect({ events, differences }).toEqual({ events: whole.events, differences: 0 });
  });

  test('begins in the middle with the counters of then', async () => {
    await aDay();
    const half = await engine.port.simulate({ since: '2026-03-01T08:10:00Z', limit: 20_000 });
    const limited = half.recorded?.first.filter(({ pattern_id }) => pattern_id !== 'limited');
    expect(limited).toEqual([]);
  });

  test('says where the matrix of today decides otherwise than was decided', async () => {
    await setClock(db.sql, { at: start });
    await engine.patterns(pattern('old'));
    await engine.emit('thing:seen', {});
    await engine.beat();
    await engine.patterns(pattern('new'));
    const { recorded } = await engine.port.simulate({ since: start });
    expect(recorded).toMatchObject({ count: 2, starts: 1, stops: 1 });
    expect(recorded?.first.map(({ pattern_id }) => pattern_id)).toEqual(['new', 'old']);
  });
});

describe('a draft', () => {
  test('shows what would start, what would stop, and which clause says so', async () => {
    await setClock(db.sql, { at: start });
    await engine.patterns(pattern('kept'), pattern('tightened'), pattern('gone'));
    for (const n of [1, 2, 3]) await engine.emit('thing:seen', { n });
    await engine.beat();
    const draft = draftOf(pattern('kept'), pattern('tightened', { where: '$.data.n > 2' }), pattern('fresh'));
    const page = await engine.port.simulate({ drafts: draft, since: start });
    expect(page.live.patterns).toEqual({ kept: { fired: 3 }, tightened: { fired: 3 }, gone: { fired: 3 } });
    expect(page.draft.patterns).toEqual({
      kept: { fired: 3 },
      tightened: { fired: 1, unmatched: 2 },
      fresh: { fired: 3 },
    });
    expect(page.differences).toMatchObject({ count: 8, starts: 3, stops: 5 });
    expect(page.differences.first.find(({ pattern_id }) => pattern_id === 'tightened')).toMatchObject({
      live: { outcome: 'fired' },
      draft: { outcome: 'unmatched', clause: 'where' },
    });
  });

  test('says what would be approved by itself and what it would cost at the reserves', async () => {
    await engine.setPolicy('auto_approve', {
      enabled: true,
      allowed_step_kinds: ['noop'],
      max_risk_level: 'low',
    });
    await engine.setPolicy('budgets', { reserve: { sage: { usd: 0.25, tokens: 500 } } });
    await engine.patterns(pattern('cheap'));
    await engine.emit('thing:seen', {});
    const thinks = { kind: 'agent', params: { role: 'sage', prompt: 'think' } };
    const drafts = {
      ...draftOf(
        pattern('cheap'),
        pattern('dear', { template: { title: 'think', steps: [thinks, thinks] } }),
      ),
      auto_approve: { enabled: true, allowed_step_kinds: ['noop', 'agent'], max_risk_level: 'critical' },
    };
    const { live, draft } = await engine.port.simulate({ drafts });
    expect(live).toMatchObject({ proposals: 1, auto_approved: 1, waiting: 0, usd: 0, tokens: 0 });
    // The rule of two holds the second one: an event from outside, secrets and an outside effect.
    expect(draft).toMatchObject({ proposals: 2, auto_approved: 1, waiting: 1, usd: 0.5, tokens: 1000 });
  });

  test('counts the cost of every item of a list, nothing for dry runs, and says when a list is not known yet', async () => {
    const policies = {
      auto_approve: { enabled: true, allowed_step_kinds: ['noop', 'agent'], max_risk_level: 'critical' },
      budgets: { reserve: { sage: { usd: 0.5, tokens: 100 } } },
    };
    const think = (for_each?: Json) => ({
      kind: 'agent',
      params: { role: 'sage', prompt: 'think' },
      ...(for_each !== undefined && { for_each }),
    });
    const data = { l: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] };
    const costs = async (template: { [key: string]: Json }, more: Pattern = {}) => {
      const matrix = draftOf(pattern('p', { template: { title: 'w', ...template }, ...more }));
      const drafts = { ...matrix, ...policies };
      return (await engine.port.simulate({ drafts, events: [{ type: 'thing:seen', data }] })).draft;
    };
    const everyItem = { items: '{{event.data.l}}' };
    expect(await costs({ steps: [think(everyItem), think({ items: [1, 2, 3] }), think()] })).toMatchObject({
      ...{ proposals: 1, usd: 7, tokens: 1400, open_lists: 0 },
    });
    expect(await costs({ steps: [think({ ...everyItem, max: 9 })] })).toMatchObject({ usd: 0 });
    const unknown = think({ items: '{{steps.step_1.result.l}}' });
    expect(await costs({ steps: [think(), unknown] })).toMatchObject({ usd: 1, open_lists: 1 });
    const nothing = { proposals: 1, usd: 0, tokens: 0, open_lists: 0 };
    expect(await costs({ dry_run: true, steps: [think(), unknown] })).toMatchObject(nothing);
    expect(await costs({ steps: [think(everyItem)] }, { canary: 0 })).toMatchObject(nothing);
  });

  test('of switches, loop limits and others is simulated alike', async () => {
    await engine.patterns(pattern('kept'));
    await engine.emit('thing:seen', {});
    const { draft } = await engine.port.simulate({
      drafts: { switches: { scopes: { 'pattern:kept': { mode: 'drain' } } } },
    });
    expect(draft.patterns).toEqual({ kept: { suppressed: 1 } });
  });

  test('that could not become active is refused with its path', async () => {
    await expect(
      engine.port.simulate({ drafts: draftOf(pattern('bad', { where: '$.data[' })) }),
    ).rejects.toMatchObject({ code: 'OPS_008', message: expect.stringContaining('$.patterns[0].where') });
  });

  test('can be tried on events that never happened', async () => {
    const { draft, recorded, events } = await engine.port.simulate({
      drafts: draftOf(pattern('p', { cooldown_minutes: 5 })),
      events: [
        { type: 'thing:seen', created_at: '2026-01-01T00:00:00Z' },
        { type: 'thing:seen', created_at: '2026-01-01T00:01:00Z' },
        { type: 'thing:seen', created_at: '2026-01-01T00:06:00Z' },
      ],
    });
    expect({ events, recorded }).toEqual({ events: 3, recorded: null });
    expect(draft.patterns).toEqual({ p: { fired: 2, suppressed: 1 } });
  });
});

test('writes nothing: it runs where nothing can be written', async () => {
  await aDay();
  const client = await db.connect();
  await client.query('begin transaction read only');
  const draft = draftOf(pattern('p', { cooldown_minutes: 5, limit: { count: 2, per_minutes: 60 } }));
  const { rows } = await client.query('select ops_simulate($1, $2) as page', [JSON.stringify(draft), start]);
  expect(rows[0].page.draft.patterns.p.fired).toBeGreaterThan(0);
  await client.query('rollback');
});
