/** Events: stored once, in order, whole or not at all; decided within bounds, with an outcome. */
import { describe, expect, test } from 'vitest';
import { type Json, noop, only, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const template: Json = { title: 'work', steps: [noop('one')] };
const pattern = { id: 'p', event_type: 'a:b', template };
const stored = () => db.sql('select * from ops_agent_events order by created_at');
const count = async (where = 'true') =>
  Number(only(await db.sql(`select count(*) as n from ops_agent_events where ${where}`)).n);

describe('emitting', () => {
  test('one by SQL needs a type only, and answers its id', async () => {
    const { receipt } = await db.one<{ receipt: { id: string } }>("select ops_emit_event('a:b') as receipt");
    expect(receipt).toEqual({ id: expect.any(String), created: true });
    expect(await stored()).toMatchObject([
      {
        id: receipt.id,
        type: 'a:b',
        source: 'manual',
        trust: 'verified',
        data: {},
        depth: 0,
        root_id: null,
        processed_at: null,
      },
    ]);
  });

  test('many keeps their order, also when they arrive in one instant', async () => {
    const events = Array.from({ length: 500 }, (_, n) => ({
      type: 'a:b',
      data: { n },
      ...(n % 3 ? {} : { dedupe_key: `k${999 - n}` }),
    }));
    const receipts = await engine.port.emitEvents({ events });
    expect(receipts.map(({ position }) => position).sort((a, b) => a - b)).toEqual(events.map((_, n) => n));
    expect(
      (await db.sql("select data -> 'n' as n from ops_agent_events order by created_at")).map(({ n }) => n),
    ).toEqual(events.map((_, n) => n));
  });

  test('a hundred times in parallel with one dedupe key is one event, and all know its id', async () => {
    const receipts = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        engine.port.emitEvent({ type: 'a:b', data: { n }, dedupeKey: 'delivery 1' }),
      ),
    );
    expect(new Set(receipts.map(({ id }) => id)).size).toBe(1);
    expect(receipts.filter(({ created }) => created)).toHaveLength(1);
    expect(await count()).toBe(1);
  });

  test('in parallel lists that overlap in keys and digests stores each once', async () => {
    const list = (seed: number) =>
      Array.from({ length: 20 }, (_, n) => ({
        type: 'a:b',
        dedupe_key: `k${(n * 7 + seed) % 20}`,
        body_digest: `d${(n * 7 + seed) % 20}`,
      }));
    await Promise.all(
      Array.from({ length: 30 }, (_, seed) => engine.port.emitEvents({ events: list(seed) })),
    );
    expect(await count()).toBe(20);
  });

  test('knows a duplicate by key and by digest, in one call too, and says which it was', async () => {
    const first = only(
      await engine.port.emitEvents({ events: [{ type: 'a:b', dedupe_key: 'k', body_digest: 'd' }] }),
    );
    const receipts = await engine.port.emitEvents({
      events: [
        { type: 'a:b', dedupe_key: 'k', body_digest: 'other' },
        { type: 'a:b', dedupe_key: 'other', body_digest: 'd' },
        { type: 'a:b', dedupe_key: 'new' },
        { type: 'a:b', dedupe_key: 'new' },
        { type: 'a:b' },
      ],
    });
    const sorted = [...receipts].sort((a, b) => a.position - b.position);
    expect(sorted.map(({ created, duplicate_of }) => [created, duplicate_of])).toEqual([
      [false, 'dedupe_key'],
      [false, 'body_digest'],
      [true, null],
      [false, 'dedupe_key'],
      [true, null],
    ]);
    expect([sorted[0]?.id, sorted[1]?.id]).toEqual([first.id, first.id]);
    expect(sorted[3]?.id).toBe(sorted[2]?.id);
    expect(await count()).toBe(3);
  });

  test.each<[string, Json, RegExp]>([
    ['no object', 5, /^event 2: is not an object/],
    ['no type', { data: {} }, /type must be words joined by colons/],
    ['a type with a space', { type: 'a b' }, /type must be words/],
    ['a type with a line break', { type: 'a:b\nc' }, /type must be words/],
    ['a type that is too long', { type: 'a'.repeat(201) }, /at most 200/],
    ['data that is a list', { type: 'a:b', data: [] }, /data must be an object/],
    ['data that is null', { type: 'a:b', data: null }, /data must be an object/],
    ['trust of the loop', { type: 'a:b', trust: 'loop' }, /trust must be/],
    ['the source of the loop', { type: 'a:b', source: 'ops-loop' }, /loop's own/],
    ['a key that is too long', { type: 'a:b', dedupe_key: 'k'.repeat(501) }, /too long/],
  ])('%s is refused with its position, and nothing of the list is stored', async (_what, bad, message) => {
    const list = JSON.stringify([{ type: 'a:b' }, { type: 'a:b' }, bad]);
    await expect(db.sql('select * from ops_emit_events($1)', [list])).rejects.toMatchObject({
      code: 'OP011',
      message: expect.stringMatching(message),
      detail: '{"position": 2}',
      hint: expect.stringContaining('Nothing was stored'),
    });
    expect(await count()).toBe(0);
  });

  test.each([
    'step:x:failed',
    'mission:failed',
    'proposal:approved',
    'schedule:x',
    'heartbeat:success',
    'alert:x',
    'loop:suppressed',
    'switch:breaker_opened',
  ])("the loop's own type %s is refused to everybody else", async (type) => {
    await expect(engine.port.emitEvent({ type })).rejects.toMatchObject({ code: 'OPS_011' });
    expect(await count()).toBe(0);
  });

  test('what is no list is refused', async () => {
    for (const list of ['{}', 'null', '"x"'])
      await expect(db.sql('select * from ops_emit_events($1)', [list])).rejects.toMatchObject({
        code: 'OP011',
      });
    expect(await engine.port.emitEvents({ events: [] })).toEqual([]);
  });
});

describe('deciding', () => {
  test('ten thousand that match nothing do not hold up the one that does, and all of them are closed with an outcome', async () => {
    await engine.patterns(pattern);
    await db.sql(
      "insert into ops_agent_events (type, data) select 'no:match', jsonb_build_object('n', n) from generate_series(1, 10000) n",
    );
    const { id } = await engine.emit('a:b');
    const rounds = await engine.beat();
    expect(rounds).toHaveLength(Math.ceil(10_001 / 500));
    expect(await db.one('select status from ops_agent_reactions where event_id = $1', [id])).toEqual({
      status: 'done',
    });
    expect(
      await db.sql(
        'select outcome, count(*)::int as n from ops_agent_events where processed_at is not null and decided_at is not null group by 1 order by 1',
      ),
    ).toEqual([
      { outcome: 'fired', n: 1 },
      { outcome: 'unmatched', n: 10_000 },
    ]);
    expect(await db.sql('select from ops_event_decisions')).toHaveLength(1);
  });

  test('without a matrix closes everything as unmatched', async () => {
    await db.sql("delete from ops_policy where key = 'reaction_matrix'");
    await engine.emit('a:b');
    await engine.beat();
    expect(await stored()).toMatchObject([{ outcome: 'unmatched', revision: '0' }]);
  });

  test('goes oldest first, also after a backlog', async () => {
    await engine.patterns(pattern);
    await engine.port.emitEvents({
      events: Array.from({ length: 30 }, (_, n) => ({ type: 'a:b', data: { n } })),
    });
    await engine.port.heartbeat({ source: 'reactive', eventBatch: 10 });
    expect((await stored()).map(({ outcome }) => outcome)).toEqual([
      ...Array(10).fill('fired'),
      ...Array(20).fill(null),
    ]);
    await engine.beat();
    // Also within one batch: a cap must let the oldest through.
    const order =
      await db.sql(`select (e.data ->> 'n')::int as n from ops_missions m join ops_mission_proposals p on p.id = m.proposal_id
      join ops_agent_events e on e.id = p.event_id order by p.created_at`);
    expect(order.map(({ n }) => n)).toEqual(Array.from({ length: 30 }, (_, n) => n));
  });

  test('passes over what another beat holds', async () => {
    await engine.patterns(pattern);
    await engine.port.emitEvents({ events: Array.from({ length: 4 }, () => ({ type: 'a:b' })) });
    const other = await db.connect();
    await other.query('begin; select ops_decide_events(2)');
    const round = await engine.port.heartbeat({ source: 'reactive' });
    expect(round.triggerResult).toEqual({ events: 2, queued: 2 });
    await other.query('commit');
    await engine.beat();
    expect(await db.sql('select from ops_missions')).toHaveLength(4);
  });
});

describe('a reaction', () => {
  test('joins the proposal of its dedupe key, in the same batch and in a later one', async () => {
    await engine.patterns({ ...pattern, dedupe_key: 'issue:{{event.data.issue}}' });
    for (const issue of [1, 1, 2]) await engine.emit('a:b', { issue });
    await engine.beat();
    await engine.emit('a:b', { issue: 1 });
    await engine.beat();
    const rows = await db.sql(
      'select r.status, p.dedupe_key from ops_agent_reactions r join ops_mission_proposals p on p.id = r.proposal_id join ops_agent_events e on e.id = r.event_id order by e.created_at',
    );
    expect(rows.map(({ status, dedupe_key }) => `${status} ${dedupe_key}`)).toEqual([
      'done p:issue:1',
      'done p:issue:1',
      'done p:issue:2',
      'done p:issue:1',
    ]);
    expect(await db.sql('select from ops_missions')).toHaveLength(2);
  });

  test('that cannot become a proposal is failed with the error, holds up nobody, and can be retried', async () => {
    await engine.patterns(pattern);
    for (const n of [1, 2, 3]) await engine.emit('a:b', { n });
    await db.sql(`create function ops_test.poison() returns trigger language plpgsql as $$ begin
        if new.event_id = (select id from public.ops_agent_events where data ->> 'n' = '2') then raise exception 'poison'; end if;
        return new; end $$;
      create trigger poison before insert on ops_mission_proposals for each row execute function ops_test.poison()`);
    const [round] = await engine.beat().finally(() => db.sql('drop function ops_test.poison cascade'));
    expect(round?.reactionResult).toEqual({ processed: 3, created: 2 });
    const failed = only(
      await db.sql("select id, last_error, failure_count from ops_agent_reactions where status = 'failed'"),
    );
    expect(failed).toMatchObject({ last_error: 'poison', failure_count: 1 });
    await engine.port.retryReaction({ id: String(failed.id) });
    await engine.beat();
    expect(await db.sql('select from ops_missions')).toHaveLength(3);
    await expect(engine.port.retryReaction({ id: String(failed.id) })).rejects.toMatchObject({
      code: 'OPS_015',
    });
    await expect(
      engine.port.retryReaction({ id: '00000000-0000-4000-8000-000000000000' }),
    ).rejects.toMatchObject({ code: 'OPS_012' });
  });
});

describe('replaying', () => {
  test("asks today's matrix again, page by page, and never fires twice", async () => {
    await engine.port.emitEvents({
      events: Array.from({ length: 7 }, (_, n) => ({ type: n % 2 ? 'a:b' : 'c:d' })),
    });
    await engine.beat();
    await engine.patterns(pattern);
    let since: string | undefined = '2020-01-01T00:00:00Z';
    for (let page = 0; page < 10 && since !== undefined; page++) {
      const { answer }: { answer: { more: boolean; until: string } } = await db.one(
        'select ops_replay_events($1, null, 3) as answer',
        [since],
      );
      since = answer.more ? answer.until : undefined;
      await engine.beat();
    }
    expect(await count('outcome is not null')).toBe(7);
    expect(await db.sql('select from ops_missions')).toHaveLength(3);
    expect(await engine.port.replayEvents({ since: '2020-01-01T00:00:00Z', pattern: 'p' })).toMatchObject({
      reopened: 0,
    });
  });

  test('loses none of one moment, and ends also while a heartbeat decides them again', async () => {
    await engine.port.emitEvents({ events: Array.from({ length: 10 }, () => ({ type: 'a:b' })) });
    await engine.beat();
    await db.sql("update ops_agent_events set created_at = '2026-01-01T00:00:00Z'");
    let reopened = 0;
    let cursor: string | undefined;
    for (let pages = 0; pages === 0 || cursor !== undefined; pages++) {
      const page = await engine.port.replayEvents({ since: '2025-01-01T00:00:00Z', limit: 3, cursor });
      reopened += page.reopened;
      cursor = page.more ? (page.cursor ?? undefined) : undefined;
      await engine.beat();
      expect(pages).toBeLessThan(5);
    }
    expect(reopened).toBe(10);
    await expect(
      engine.port.replayEvents({ since: '2025-01-01T00:00:00Z', cursor: 'x' }),
    ).rejects.toMatchObject({
      code: 'OPS_011',
    });
  });

  test('says of a pattern that is not there that it is not', async () => {
    await engine.patterns(pattern);
    await expect(
      engine.port.replayEvents({ since: '2025-01-01T00:00:00Z', pattern: 'nosuch' }),
    ).rejects.toMatchObject({ code: 'OPS_012', hint: expect.stringContaining('p') });
  });
});
