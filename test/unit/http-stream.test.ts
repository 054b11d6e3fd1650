/** The stream of changes without a database: what is told once, what is said when nothing is, and when it ends. */
import { describe, expect, it } from 'vitest';
import type { Change } from '../../supabase/client/schemas/rows.js';
import { createFeed, mostChanges } from '../../vercel/app/feed.js';
import { speak } from '../../vercel/app/stream.js';
import { apiKey, bearer, bodyOf, now, testApp } from './http-app.js';

const at = (seconds: number): string => new Date(now.getTime() + seconds * 1_000).toISOString();
const change = (id: string, seconds: number, status: string | null = null): Change => ({
  kind: 'event',
  id,
  name: 'a:b',
  status,
  at: at(seconds),
  mission_id: null,
});

/** Answers each look with the next list, newest first, and keeps what was asked. */
function scripted(...looks: Change[][]) {
  const asked: string[] = [];
  const listChanges = async (args: { since: string }) => {
    asked.push(args.since);
    return looks.shift() ?? [];
  };
  return { port: { listChanges } as Parameters<typeof createFeed>[0], asked };
}
const idsOf = (changes: Change[]) => changes.map(({ id }) => id);

describe('a feed', () => {
  it('tells nothing of what was there before, then each row once, oldest first', async () => {
    const old = change('old', -5);
    const { port, asked } = scripted([old], [change('b', 2), change('a', 1), old], [change('b', 2)]);
    const feed = createFeed(port, now, true);
    expect((await feed.next()).changes).toEqual([]);
    const second = await feed.next();
    expect([idsOf(second.changes), second.cursor]).toEqual([['a', 'b'], at(2)]);
    expect((await feed.next()).changes).toEqual([]);
    expect(asked).toEqual([at(-15), at(-15), at(-13)]);
  });

  it('tells of a row that was committed late, and again of one whose status changed', async () => {
    const late = change('late', 1);
    const { port } = scripted([change('b', 9)], [change('b', 9), late], [change('b', 9, 'fired'), late]);
    const feed = createFeed(port, now, false);
    expect(idsOf((await feed.next()).changes)).toEqual(['b']);
    expect(idsOf((await feed.next()).changes)).toEqual(['late']);
    expect(await feed.next()).toMatchObject({ changes: [{ id: 'b', status: 'fired' }], cursor: at(9) });
  });

  it('says when more came in than one look takes', async () => {
    const many = Array.from({ length: mostChanges }, (_, n) => change(`e${n}`, 100 - n / 1_000));
    const feed = createFeed(scripted([], many, many).port, now, true);
    expect((await feed.next()).gap).toBe(false);
    expect((await feed.next()).gap).toBe(true);
    expect(await feed.next()).toMatchObject({ gap: false, changes: [] });
  });
});

describe('the text of a stream', () => {
  /** A clock that moves when somebody pauses. */
  const play = async (looks: (Change[] | Error)[], stopAfter = Number.POSITIVE_INFINITY) => {
    let ms = 0;
    const stopped = new AbortController();
    const next = async () => {
      const look = looks.shift() ?? [];
      if (look instanceof Error) throw look;
      return { changes: look, gap: false, cursor: at(1) };
    };
    const pieces: string[] = [];
    const pause = async (by: number) => {
      ms += by;
      if (ms >= stopAfter) stopped.abort();
    };
    const first = { changes: [], gap: false, cursor: at(0) };
    const spoken = speak({ feed: { next }, first, signal: stopped.signal, now: () => ms, pause });
    for await (const piece of spoken) pieces.push(`${ms} ${piece}`);
    return { pieces, ms };
  };

  it('is each change with its kind, its row and where to go on', async () => {
    const { pieces } = await play([[change('x', 1)]], 4_000);
    expect(pieces).toEqual([
      '0 retry: 2000\n\n',
      `2000 event: event\ndata: {"id":"x","name":"a:b","status":null,"at":"${at(1)}","mission_id":null}\nid: ${at(1)}\n\n`,
    ]);
  });

  it('keeps the connection alive when nothing happens, and ends before the platform ends it', async () => {
    const { pieces, ms } = await play([]);
    expect(pieces.map((piece) => piece.split('\n')[0])).toEqual([
      '0 retry: 2000',
      '16000 : nothing new',
      '32000 : nothing new',
      '48000 : nothing new',
    ]);
    expect(ms).toBe(50_000);
  });

  it('cannot be broken out of by what an event is called', async () => {
    const { pieces } = await play([[{ ...change('x', 1), name: 'a\n\nevent: forged\ndata: 1' }]], 4_000);
    expect(pieces[1]?.match(/^(\d+ )?event:/gm)).toHaveLength(1);
  });
});

describe('GET /api/ops/stream', () => {
  const open = (answers: Parameters<typeof testApp>[0], init: RequestInit = {}) => {
    const test = testApp(answers);
    const headers = { ...bearer(apiKey), ...(init.headers as Record<string, string>) };
    return { ...test, answer: test.app.request('/api/ops/stream', { ...init, headers }) };
  };
  const firstPiece = async (response: Response) => {
    const reader = response.body?.getReader();
    const { value } = (await reader?.read()) ?? {};
    await reader?.cancel();
    return new TextDecoder().decode(value);
  };

  it('goes on from the last id, and says when that was too long ago', async () => {
    const listChanges = () => [change('x', 1)];
    const goOn = open({ listChanges }, { headers: { 'Last-Event-ID': at(-60) } });
    const response = await goOn.answer;
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(response.headers.get('cache-control')).toBe('no-store');
    const text = await firstPiece(response);
    expect(text).toContain('"id":"x"');
    expect(text).not.toContain('event: gap');
    expect(goOn.calls).toEqual([['listChanges', { since: at(-75), limit: mostChanges }]]);
    const late = await open({ listChanges }, { headers: { 'Last-Event-ID': at(-3_600) } }).answer;
    expect(await firstPiece(late)).toContain('event: gap\n');
  });

  it.each(['nonsense', '0', '', '2026-11-20'])('begins now for the last id %j', async (id) => {
    const { answer, calls } = open(
      { listChanges: () => [change('x', 1)] },
      { headers: { 'Last-Event-ID': id } },
    );
    expect(await firstPiece(await answer)).toBe('retry: 2000\n\n');
    expect(calls).toEqual([['listChanges', { since: at(-15), limit: mostChanges }]]);
  });

  it('is a 503 while the database is away, and asks nothing for HEAD', async () => {
    const away = () => Promise.reject(Object.assign(new Error('away'), { code: 'ECONNREFUSED' }));
    const refused = await open({ listChanges: away }).answer;
    expect([refused.status, (await bodyOf(refused)).code]).toEqual([503, 'OPS_001']);
    const head = open({}, { method: 'HEAD' });
    expect([(await head.answer).status, head.calls]).toEqual([200, []]);
  });

  it('is refused beyond fifty that come at the same moment; one that found no database takes no place', async () => {
    let away = true;
    const listChanges = () =>
      away ? Promise.reject(Object.assign(new Error('away'), { code: 'ECONNREFUSED' })) : [];
    const { app } = testApp({ listChanges });
    const ask = () => app.request('/api/ops/stream', { headers: bearer(apiKey) });
    await Promise.all(Array.from({ length: 50 }, ask));
    away = false;
    const answers = await Promise.all(Array.from({ length: 60 }, ask));
    const taken = answers.filter(({ status }) => status === 200);
    expect([taken.length, answers.filter(({ status }) => status === 429).length]).toEqual([50, 10]);
    await Promise.all(taken.map((stream) => stream.body?.cancel()));
  });

  it('is refused beyond fifty at once, and free again when one ends', async () => {
    const { app } = testApp({ listChanges: () => [] });
    const ask = () => app.request('/api/ops/stream', { headers: bearer(apiKey) });
    const streams = await Promise.all(Array.from({ length: 50 }, ask));
    const refused = await ask();
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '30']);
    await streams[0]?.body?.cancel();
    const next = await ask();
    expect(next.status).toBe(200);
    await Promise.all([...streams.slice(1), next].map((stream) => stream.body?.cancel()));
  });
});
