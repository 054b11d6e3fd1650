/** `/api/ops/radar` over the real engine: what a caller may ask, what is answered, and how it is refused. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../supabase/client/pg.js';
import { type App, createApp } from '../../vercel/app/app.js';
import { parseControlEnv } from '../../vercel/app/env.js';
import { useDatabase } from '../support/database.js';
import { apiKey, bearer, bodyOf, json, secrets, someId } from './http-app.js';

const database = useDatabase();
const silent = { info: () => {}, warn: () => {}, error: () => {} };
const key = bearer(apiKey);
let opened: Database;
let app: App;
beforeAll(() => {
  opened = openDatabase({ connectionString: database.url });
  app = createApp({ port: opened.port, env: parseControlEnv(secrets), log: silent, now: () => new Date() });
});
afterAll(() => opened.close());

const get = async (path: string) => {
  const response = await app.request(`/api/ops/radar${path}`, { headers: key });
  return { status: response.status, body: await bodyOf(response) };
};
const post = async (path: string, sent: unknown) => {
  const response = await app.request(`/api/ops/radar${path}`, json(sent, key));
  return { status: response.status, body: await bodyOf(response) };
};

describe('the radar over HTTP', () => {
  it('takes mentions, each once by its key, and shows the signal with what was said', async () => {
    const mention = {
      title: 'Dark mode',
      by: 'ada',
      mention_key: 'c1',
      tags: ['ui'],
      evidence: { likes: 3 },
    };
    const first = await post('', mention);
    expect(first).toMatchObject({ status: 201, body: { created: true, counted: true, stage: 'watching' } });
    const { id } = first.body;
    expect(await post('', mention)).toMatchObject({ status: 200, body: { id, counted: false, mentions: 1 } });
    expect(await post('', { title: 'dark mode', source: 'mail' })).toMatchObject({
      status: 200,
      body: { id, created: false, counted: true, mentions: 2 },
    });
    const shown = await get(`/${id}`);
    expect(shown).toMatchObject({
      status: 200,
      body: { id, sources: ['api', 'mail'], tags: ['ui'], next: ['validating', 'dropped'] },
    });
    expect(shown.body.evidence[0]).toMatchObject({ source: 'api', by: 'ada', data: { likes: 3 } });
  });

  it('moves a signal in the name of the key, once, and says what is legal otherwise', async () => {
    const { id } = (await post('', { title: 'moves' })).body;
    const move = { stage: 'validating', reason: 'ten asked' };
    expect(await post(`/${id}/move`, move)).toMatchObject({
      status: 200,
      body: { changed: true, from: 'watching' },
    });
    expect(await post(`/${id}/move`, move)).toMatchObject({ status: 200, body: { changed: false } });
    expect((await get(`/${id}`)).body).toMatchObject({ moved_by: 'api-key', move_reason: 'ten asked' });
    expect(await post(`/${id}/move`, { stage: 'shipped' })).toMatchObject({
      status: 409,
      body: {
        code: 'OPS_015',
        hint: 'From validating it may go to building or dropped.',
        context: { legal: ['building', 'dropped'] },
      },
    });
  });

  it('lists by filters, page by page, and gives the top', async () => {
    for (const title of ['p1', 'p2', 'p3'])
      await post('', { title, tags: ['paged'], weight: Number(title[1]) });
    const first = await get('?tag=paged&limit=2&min_score=0.5&stage=open');
    expect(first.body.signals.map(({ title }: { title: string }) => title)).toEqual(['p3', 'p2']);
    const next = encodeURIComponent(first.body.next_cursor);
    const rest = await get(`?tag=paged&limit=2&min_score=0.5&stage=open&cursor=${next}`);
    expect(rest.body).toMatchObject({ signals: [{ title: 'p1' }], next_cursor: null });
    const top = await get('/top?count=1');
    expect(top).toMatchObject({ status: 200, body: { signals: [{ title: 'p3' }] } });
    expect((await get('?text=MOVES')).body.signals).toMatchObject([{ title: 'moves' }]);
  });

  it.each<[string, string, unknown, number]>([
    ['a signal without title', '', {}, 400],
    ['a link that is a script', '', { title: 'x', link: 'javascript:alert(1)' }, 400],
    ['a member that is none', '', { title: 'x', score: 9 }, 400],
    ['a stage that is none', `/${someId}/move`, { stage: 'done' }, 400],
    ['an actor in the body', `/${someId}/move`, { stage: 'dropped', actor: 'root' }, 400],
    ['an id that is none', '/x/move', { stage: 'dropped' }, 400],
    ['an id of nothing', `/${someId}/move`, { stage: 'dropped' }, 404],
  ])('refuses %s', async (_, path, sent, status) => {
    const answer = await post(path, sent);
    expect(answer.status).toBe(status);
    expect(answer.body.hint).toMatch(/\S/);
  });

  it.each(['?stage=done', '?limit=0', '?sort=colour', '?cursor=x', '?color=red', '/top?count=1000', '/x'])(
    'refuses to show %s',
    async (path) => expect((await get(path)).status).toBe(400),
  );

  it('shows what is wanted most on the page', async () => {
    const overview = await app.request('/api/ops/overview', { headers: key });
    const { radar } = await bodyOf(overview);
    expect(radar[0]).toMatchObject({ title: 'p3', stage: 'watching', mentions: 1 });
    expect(radar.length).toBeLessThanOrEqual(8);
  });
});
