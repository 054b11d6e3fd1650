/** The demand radar in SQL: a mention counts once, the score is its formula, a list gives every signal once. */
import { describe, expect, test } from 'vitest';
import { RadarInput } from '../../supabase/client/schemas/inputs.js';
import { advanceClock, setClock } from '../support/clock.js';
import { only, useEngine } from './engine-kit.js';
import { radarOn } from './radar-kit.js';

const engine = useEngine();
const { db } = engine;
const { add, named, move, events, types, titles } = radarOn(engine);

describe('a mention', () => {
  test('makes a signal that is watched, with one event; a further one is counted', async () => {
    expect(await add({ title: ' Dark  mode ' })).toMatchObject({
      created: true,
      counted: true,
      mentions: 1,
      stage: 'watching',
    });
    expect(await add({ title: 'dark mode' })).toMatchObject({ created: false, counted: true, mentions: 2 });
    expect(await types()).toEqual(['radar:watching']);
    const { data } = only(await events());
    expect(data).toMatchObject({ title: 'Dark  mode', stage: 'watching', mentions: 1, score: 1, tags: [] });
  });

  test.each([1, 2, 3])('heard fifty times at once is one signal with fifty mentions (round %i)', async () => {
    const receipts = await Promise.all(
      Array.from({ length: 50 }, (_, n) => add({ title: 'at once', source: `s${n % 5}`, evidence: { n } })),
    );
    expect(new Set(receipts.map(({ id }) => id)).size).toBe(1);
    expect(receipts.filter(({ created }) => created)).toHaveLength(1);
    expect(receipts.map(({ mentions }) => mentions).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 50 }, (_, n) => n + 1),
    );
    const signal = await engine.port.radarGet({ id: receipts[0]?.id });
    expect(signal).toMatchObject({ mentions: 50, sources: expect.arrayContaining(['s0', 's4']) });
    expect(new Set(signal.evidence.map(({ data }) => JSON.stringify(data))).size).toBe(50);
    expect(await types()).toEqual(['radar:watching']);
  });

  test('is counted once per mention key, also fifty times at once', async () => {
    await named('keyed');
    const again = () => add({ title: 'keyed', mention_key: 'comment-7' });
    const receipts = await Promise.all(Array.from({ length: 50 }, again));
    expect(receipts.filter(({ counted }) => counted)).toHaveLength(1);
    expect(await again()).toMatchObject({ created: false, counted: false, mentions: 2 });
    expect(await add({ title: 'another', mention_key: 'comment-7' })).toMatchObject({
      created: true,
      counted: true,
    });
  });

  test('many calls with the same signals in different orders end without a deadlock', async () => {
    const ours = ['a', 'b', 'c', 'd'].map((title) => ({ title }));
    const lists = Array.from({ length: 20 }, (_, n) => [...ours.slice(n % 4), ...ours.slice(0, n % 4)]);
    const answers = await Promise.all(lists.map((signals) => engine.port.radarAdd({ signals })));
    // A row each, found again by its place in the list.
    for (const rows of answers) expect(rows.map(({ position }) => position).sort()).toEqual([0, 1, 2, 3]);
    expect((await engine.port.radarList()).map(({ mentions }) => mentions)).toEqual([20, 20, 20, 20]);
  });

  test('is kept as data: when, who, where, and what was said, of much the beginning, of many the latest hundred', async () => {
    const text = "<img src=x onerror=alert(1)> '); drop table ops_demand_radar; -- {{event.data}}";
    const link = 'https://example.org/issues/1';
    const { id } = await add({ title: text, by: 'mallory', link, source: 'forum', evidence: { text } });
    await add({ title: text, evidence: 'x'.repeat(5_000), by: null });
    const { evidence, title } = await engine.port.radarGet({ id });
    expect(title).toBe(text);
    expect(evidence[0]).toEqual({
      at: expect.any(String),
      source: 'forum',
      by: 'mallory',
      link,
      data: { text },
    });
    expect(evidence[1]).toEqual({
      at: expect.any(String),
      source: 'manual',
      data: expect.stringMatching(/^"x{1999}…$/),
    });
    const more = Array.from({ length: 120 }, (_, n) => ({ title: text, evidence: n }));
    await engine.port.radarAdd({ signals: more });
    const later = await engine.port.radarGet({ id });
    expect(later.mentions).toBe(122);
    expect(later.evidence.map(({ data }) => data)).toEqual(Array.from({ length: 100 }, (_, n) => n + 20));
  });

  test('gathers tags and sources, the first description, and leaves the weight alone', async () => {
    await add({ title: 't', tags: ['b', 'a', 'b'], source: 'github', weight: 5 });
    const { id } = await add({
      title: 't',
      tags: ['c', 'a'],
      source: 'mail',
      description: 'more',
      weight: 9,
    });
    expect(await engine.port.radarGet({ id })).toMatchObject({
      tags: ['b', 'a', 'c'],
      source: 'github',
      sources: ['github', 'mail'],
      description: 'more',
      weight: 5,
    });
  });

  test.each<[string, unknown, string]>([
    ['text', 'x', 'signals must be a list'],
    ['no title', [{ title: 'fine' }, { title: '  ' }], 'signal 1: has no title'],
    ['no object', [1], 'signal 0: is not an object'],
    ['a long title', [{ title: 'x'.repeat(501) }], 'signal 0: title is longer than 500'],
    ['an empty key', [{ title: 'x', dedupe_key: '' }], 'signal 0: dedupe_key is empty'],
    ['a number for a text', [{ title: 'x', by: 7 }], 'signal 0: by must be text'],
    [
      'a link that is a script',
      [{ title: 'x', link: 'javascript:alert(1)' }],
      'signal 0: link must be an address',
    ],
    ['tags that are no texts', [{ title: 'x', tags: [1] }], 'signal 0: tags must be'],
    ['tags that are too long', [{ title: 'x', tags: ['y'.repeat(101)] }], 'signal 0: tags must be'],
    ['a weight out of bounds', [{ title: 'x', weight: 101 }], 'signal 0: weight must be'],
  ])('is refused with %s, and nothing is stored', async (_, signals, message) => {
    await expect(db.sql('select * from ops_radar_add($1)', [JSON.stringify(signals)])).rejects.toMatchObject({
      code: 'OP011',
      message: expect.stringContaining(message),
      hint: expect.stringMatching(/\S/),
    });
    expect(await engine.port.radarList()).toEqual([]);
  });

  test('of what both sides know, SQL and zod refuse the same', async () => {
    const samples: unknown[] = [
      { title: 'x' },
      { title: 'x', tags: [], by: null, link: 'HTTP://a/b', weight: 0, evidence: null },
      { title: 'x', link: 'ftp://a' },
      { title: '' },
      { title: 'x', weight: -1 },
      { title: 'x', mention_key: '' },
      { title: 'x', source: '' },
      { title: 'x', description: '' },
      { title: 'x', tags: [null] },
    ];
    for (const sample of samples) {
      const { problem } = await db.one('select ops_radar_problem($1) as problem', [JSON.stringify(sample)]);
      expect(RadarInput.safeParse(sample).success, `${JSON.stringify(sample)}: ${problem}`).toBe(
        problem === null,
      );
    }
  });
});

describe('the score', () => {
  const scoreOf = async (id: string) => (await engine.port.radarGet({ id })).score;

  test('is weight * log2(1 + mentions) * (1 + (sources - 1) / 4), and halves every 30 days', async () => {
    await setClock(db.sql, { at: '2026-03-04T08:00:00Z' });
    const id = await named('one');
    expect(await scoreOf(id)).toBe(1);
    for (const source of ['mail', 'forum']) await add({ title: 'one', source });
    expect(await scoreOf(id)).toBe(3); // log2(4) * 1.5
    expect(await engine.port.radarWeigh({ id, weight: 10 })).toEqual({
      id,
      weight: 10,
      score: 30,
      changed: true,
    });
    await advanceClock(db.sql, '30 days');
    expect(await scoreOf(id)).toBe(15);
    await advanceClock(db.sql, '30 days');
    expect(await scoreOf(id)).toBe(7.5);
    await add({ title: 'one' });
    expect(await scoreOf(id)).toBeCloseTo(10 * Math.log2(5) * 1.5, 3);
    await advanceClock(db.sql, '200 years');
    expect(await scoreOf(id)).toBe(0);
  });

  test('counts nine sources at most', async () => {
    for (let n = 0; n < 12; n++) await add({ title: 'wide', source: `s${n}` });
    const [{ score, sources } = { score: 0, sources: 0 }] = await engine.port.radarList();
    expect(sources).toBe(12);
    expect(score).toBeCloseTo(Math.log2(13) * 3, 2);
  });

  test('orders alike whether it is asked now or the order is read from the rank', async () => {
    await setClock(db.sql, { at: '2026-03-04T08:00:00Z' });
    for (let n = 0; n < 30; n++) {
      await engine.port.radarAdd({
        signals: Array.from({ length: 1 + ((n * 7) % 5) }, () => ({
          title: `s${n}`,
          weight: 1 + ((n * 3) % 4),
        })),
      });
      await advanceClock(db.sql, `${(n * 13) % 50} hours`);
    }
    await advanceClock(db.sql, '9 days');
    const scores = (await engine.port.radarList()).map(({ score }) => score);
    expect(scores).toEqual([...scores].sort((a, b) => b - a));
    expect(new Set(scores).size).toBeGreaterThan(20);
  });

  test('is muted by weight 0, and a weight out of bounds is refused', async () => {
    const id = await named('quiet');
    await engine.port.radarWeigh({ id, weight: 0 });
    await named('loud');
    expect(await titles()).toEqual(['loud', 'quiet']);
    for (const weight of [-1, 101])
      await expect(engine.port.radarWeigh({ id, weight })).rejects.toMatchObject({ code: 'OPS_011' });
    expect(await engine.port.radarWeigh({ id, weight: 0 })).toMatchObject({ changed: false });
  });
});

describe('the list', () => {
  test('filters by stage, tag, text and score, each as text and never as a pattern', async () => {
    await add({ title: '100% dark', tags: ['ui'], weight: 8 });
    await add({ title: 'Offline', description: 'works in a TUNNEL', tags: ['ui', 'core'] });
    await move(await named('Old'), 'dropped');
    expect(await titles()).toEqual(['100% dark', 'Old', 'Offline']);
    expect(await titles({ stage: 'dropped' })).toEqual(['Old']);
    expect(await titles({ stage: 'open', tag: 'core' })).toEqual(['Offline']);
    expect(await titles({ text: 'tunnel' })).toEqual(['Offline']);
    expect(await titles({ text: '%' })).toEqual(['100% dark']);
    expect(await titles({ text: '_' })).toEqual([]);
    expect(await titles({ minScore: 2 })).toEqual(['100% dark']);
    expect(await titles({ minScore: 0 })).toHaveLength(3);
    expect((await engine.port.radarTop({ count: 1 })).map(({ title }) => title)).toEqual(['100% dark']);
    expect((await engine.port.radarTop()).map(({ stage }) => stage)).toEqual(['watching', 'watching']);
  });

  test.each(['score', 'recent', 'new', 'mentions'])(
    'by %s gives every signal once, page by page, while time goes on',
    async (sort) => {
      await setClock(db.sql, { at: '2026-03-04T08:00:00Z' });
      for (let n = 0; n < 23; n++) {
        await engine.port.radarAdd({
          signals: Array.from({ length: 1 + (n % 4) }, () => ({ title: `s${n}` })),
        });
        if (n % 3 > 0) await advanceClock(db.sql, '7 hours');
      }
      await add({ title: 'muted', weight: 0 });
      const whole = await titles({ sort });
      const paged: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await engine.port.radarList({ sort, limit: 5, cursor });
        paged.push(...page.map(({ title }) => title));
        cursor = page.length < 5 ? undefined : page.at(-1)?.cursor;
        await advanceClock(db.sql, '3 days');
      } while (cursor !== undefined);
      expect(paged).toEqual(whole);
      expect(new Set(paged).size).toBe(24);
    },
  );

  test.each<[string, Parameters<typeof engine.port.radarList>[0]]>([
    ['stage', { stage: 'nowhere' }],
    ['order', { sort: 'colour' }],
    ['cursor', { cursor: "x' or true" }],
    [
      'cursor of another order',
      { sort: 'new', cursor: `score 1.5 ${'0'.repeat(8)}-0000-0000-0000-${'0'.repeat(12)}` },
    ],
  ])('refuses an unknown %s and says what there is', async (_, args) => {
    await expect(engine.port.radarList(args)).rejects.toMatchObject({
      code: 'OPS_011',
      hint: expect.stringMatching(/\S/),
    });
  });

  test('of 20,000 signals, its first page comes from the index', async () => {
    await db.sql(
      "insert into ops_demand_radar (title, mentions, first_seen_at, last_seen_at) select 't' || n, 1 + n % 50, now() - interval '1 year', now() - n * interval '1 minute' from generate_series(1, 20000) n; analyze ops_demand_radar",
    );
    const blocks =
      "select heap_blks_read + heap_blks_hit as n from pg_statio_user_tables where relname = 'ops_demand_radar'";
    const client = await db.connect();
    const read = async () => {
      await client.query('select pg_stat_force_next_flush()');
      await client.query('select pg_stat_clear_snapshot()');
      return Number((await client.query(blocks)).rows[0]?.n);
    };
    const before = await read();
    expect((await client.query('select * from ops_radar_list()')).rows).toHaveLength(50);
    expect(
      (await client.query("select * from ops_radar_list(p_stage => 'open', p_limit => 10)")).rows,
    ).toHaveLength(10);
    expect((await read()) - before).toBeLessThan(200);
  });
});

describe('one signal', () => {
  test('is asked for by id or by dedupe key, not by both or neither, and must be there', async () => {
    const id = await named('x');
    expect(await engine.port.radarGet({ dedupeKey: 'x' })).toEqual(await engine.port.radarGet({ id }));
    for (const args of [{}, { id, dedupeKey: 'x' }])
      await expect(engine.port.radarGet(args)).rejects.toMatchObject({ code: 'OPS_011' });
    for (const args of [{ id: crypto.randomUUID() }, { dedupeKey: 'y' }])
      await expect(engine.port.radarGet(args)).rejects.toMatchObject({ code: 'OPS_012' });
  });
});
