/** The HTTP app over the real engine: what a sender was told is what is in the database. */

import examples from '@octokit/webhooks-examples';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../supabase/client/pg.js';
import { type App, createApp } from '../../vercel/app/app.js';
import { parseControlEnv } from '../../vercel/app/env.js';
import { useDatabase } from '../support/database.js';
import { apiKey, bearer, bodyOf, cronSecret, delivery, json, secrets, sign } from '../unit/http-app.js';

const database = useDatabase();
const key = bearer(apiKey);
const silent = { info: () => {}, warn: () => {}, error: () => {} };
let opened: Database;
let app: App;

const appOn = (url: string): { app: App; database: Database } => {
  const db = openDatabase({ connectionString: url, max: 8 });
  return {
    app: createApp({ port: db.port, env: parseControlEnv(secrets), log: silent, now: () => new Date() }),
    database: db,
  };
};
beforeAll(() => {
  ({ app, database: opened } = appOn(database.url));
});
afterAll(() => opened.close());

const post = (path: string, body: unknown, headers = key) => app.request(path, json(body, headers));
const get = (path: string) => app.request(path, { headers: key });
const github = (body: string, headers: Record<string, string> = {}) =>
  app.request('/api/ops/webhooks/github', delivery(body, headers));
const countEvents = async (where: string, value: string) =>
  Number((await database.one(`select count(*) as n from ops_agent_events where ${where}`, [value])).n);

describe('events', () => {
  it('are stored once per dedupe key, whoever sends them how often', async () => {
    const event = { type: 'shop:order', data: { n: 1 }, dedupe_key: 'order-1' };
    const first = await post('/api/ops/events', event);
    const second = await post('/api/ops/events', {
      events: [event, { type: 'shop:order', dedupe_key: 'order-2' }],
    });
    expect([first.status, second.status]).toEqual([201, 201]);
    const { id } = await bodyOf(first);
    expect(await bodyOf(second)).toMatchObject({
      created: 1,
      duplicates: 1,
      events: [
        { id, created: false, duplicate_of: 'dedupe_key' },
        { created: true, duplicate_of: null },
      ],
    });
    expect((await post('/api/ops/events', [event])).status).toBe(200);
    expect(await countEvents('type = $1', 'shop:order')).toBe(2);
  });

  it('that jsonb would refuse are stored with U+FFFD', async () => {
    const response = await post('/api/ops/events', '{"type":"poison:text","data":{"a\\u0000":"x\\ud800"}}');
    expect(response.status).toBe(201);
    const { data } = await database.one(`select data from ops_agent_events where type = 'poison:text'`);
    expect(data).toEqual({ 'a\ufffd': 'x\ufffd' });
  });
});

describe('GitHub', () => {
  it('delivering one event a hundred times in parallel makes one row', async () => {
    const body = JSON.stringify({ action: 'opened', issue: { number: 100 } });
    const headers = { 'X-GitHub-Delivery': 'hundred-times' };
    const responses = await Promise.all(Array.from({ length: 100 }, () => github(body, headers)));
    const statuses = responses.map(({ status }) => status);
    expect(statuses.filter((status) => status === 202)).toHaveLength(1);
    expect(statuses.filter((status) => status === 200)).toHaveLength(99);
    const ids = new Set(await Promise.all(responses.map(async (response) => (await bodyOf(response)).id)));
    expect(ids.size).toBe(1);
    expect(await countEvents('dedupe_key = $1', 'github:hundred-times')).toBe(1);
  });

  it('replayed under a new delivery id is the event we have', async () => {
    const body = JSON.stringify({ action: 'closed', issue: { number: 7 } });
    const first = await bodyOf(await github(body, { 'X-GitHub-Delivery': 'original' }));
    const replay = await github(body, { 'X-GitHub-Delivery': 'captured' });
    expect(replay.status).toBe(200);
    expect(await bodyOf(replay)).toEqual({ id: first.id, created: false, duplicate_of: 'body_digest' });
  });

  it('with a changed byte stores nothing', async () => {
    const body = JSON.stringify({ action: 'deleted' });
    const signature = sign(body);
    expect(
      (await github(`${body} `, { 'X-Hub-Signature-256': signature, 'X-GitHub-Delivery': 'forged' })).status,
    ).toBe(401);
    expect(await countEvents('dedupe_key = $1', 'github:forged')).toBe(0);
  });

  it('may send every payload that its documentation shows', async () => {
    const documented = examples as unknown as { name: string; examples: unknown[] }[];
    const payloads = documented.flatMap(({ name, examples: bodies }) =>
      bodies.map((body) => ({ name, body })),
    );
    expect(payloads.length).toBeGreaterThan(100);
    for (const [n, { name, body }] of payloads.entries()) {
      const headers = { 'X-GitHub-Event': name, 'X-GitHub-Delivery': `example-${n}` };
      const response = await github(JSON.stringify(body), headers);
      expect([name, response.status < 300]).toEqual([name, true]);
    }
  });
});

describe('a database that is away', () => {
  it('makes the sender come again, and then nothing is lost', async () => {
    const away = appOn('postgresql://nobody@127.0.0.1:1/nothing');
    const body = JSON.stringify({ action: 'opened', issue: { number: 503 } });
    const init = () => delivery(body, { 'X-GitHub-Delivery': 'while-away' });
    const refused = await away.app.request('/api/ops/webhooks/github', init());
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('5');
    expect(await bodyOf(refused)).toMatchObject({ code: 'OPS_001' });
    expect((await away.app.request('/api/ops/heartbeat', { method: 'POST', headers: key })).status).toBe(503);
    expect((await away.app.request('/health/ready')).status).toBe(503);
    expect((await away.app.request('/health')).status).toBe(200);
    await away.database.close();
    expect((await app.request('/api/ops/webhooks/github', init())).status).toBe(202);
  });
});

describe('the heartbeat', () => {
  it('decides what came in, and answers the documented members', async () => {
    const { id } = await bodyOf(await post('/api/ops/events', { type: 'nobody:listens' }));
    const response = await app.request('/api/ops/heartbeat', { headers: bearer(cronSecret) });
    expect(response.status).toBe(200);
    const beat = await bodyOf(response);
    expect(beat).toMatchObject({
      ok: true,
      triggerResult: { queued: expect.any(Number) },
      staleResult: { recovered: 0 },
    });
    expect(beat.triggerResult.events).toBeGreaterThan(0);
    const { outcome } = await database.one('select outcome from ops_agent_events where id = $1', [id]);
    expect(outcome).toBe('unmatched');
  });

  it('may run twenty times at once', async () => {
    const events = Array.from({ length: 500 }, (_, n) => ({ type: 'overlap:test', data: { n } }));
    await post('/api/ops/events', events);
    const beats = await Promise.all(
      Array.from({ length: 20 }, () => app.request('/api/ops/heartbeat', { method: 'POST', headers: key })),
    );
    expect(beats.map(({ status }) => status)).toEqual(beats.map(() => 200));
    const bodies = await Promise.all(beats.map(bodyOf));
    expect(bodies.map(({ failures }) => failures)).toEqual(bodies.map(() => []));
    const open = await countEvents('type = $1 and outcome is null', 'overlap:test');
    expect(open).toBe(0);
  });
});

describe('proposals', () => {
  // No seeded policy approves this risk by itself.
  const template = { title: 'Say hello', risk_level: 'critical', steps: [{ kind: 'noop', params: {} }] };
  const propose = async (dedupe_key: string) => await post('/api/ops/proposals', { template, dedupe_key });

  it('are listed, approved by hand into a mission, and not decided twice', async () => {
    const created = await propose('hello-1');
    expect(created.status).toBe(201);
    const { id } = await bodyOf(created);
    expect((await propose('hello-1')).status).toBe(200);
    await app.request('/api/ops/heartbeat', { method: 'POST', headers: key });
    const { proposals } = await bodyOf(await get('/api/ops/proposals?status=pending'));
    expect(proposals.map((proposal: { id: string }) => proposal.id)).toContain(id);
    const approved = await post(`/api/ops/proposals/${id}/approve`, { reason: 'fine' });
    expect(approved.status).toBe(200);
    expect(await bodyOf(approved)).toMatchObject({ id, status: 'approved', mission_id: expect.any(String) });
    expect((await post(`/api/ops/proposals/${id}/reject`, {})).status).toBe(409);
    expect((await bodyOf(await get(`/api/ops/why/${id}`))).sentences.length).toBeGreaterThan(0);
    expect(await bodyOf(await get(`/api/ops/trace/${id}`))).toMatchObject({ children: expect.any(Array) });
  });

  it('are rejected with a reason', async () => {
    const { id } = await bodyOf(await propose('hello-2'));
    const rejected = await post(`/api/ops/proposals/${id}/reject`, { reason: 'not today' });
    expect(await bodyOf(rejected)).toMatchObject({ id, status: 'rejected' });
  });

  it('of an unknown executor or an unknown id are refused', async () => {
    const unknown = { title: 'x', steps: [{ kind: 'nothing-like-this', params: {} }] };
    expect((await post('/api/ops/proposals', { template: unknown })).status).toBe(422);
    expect((await post('/api/ops/proposals/00000000-0000-4000-8000-000000000000/approve', {})).status).toBe(
      404,
    );
  });
});

describe('what the page and people read', () => {
  it.each(['/api/ops/status', '/api/ops/overview', '/api/ops/dead-letters', '/api/ops/proposals'])(
    '%s answers',
    async (path) => {
      expect((await get(path)).status).toBe(200);
    },
  );

  it('is ready', async () => {
    const response = await app.request('/api/ops/ready');
    expect(await bodyOf(response)).toMatchObject({
      status: 'ready',
      checks: { database: 'ok', schema: 'ok' },
    });
  });

  it('says 404 for an id nobody knows', async () => {
    for (const what of ['why', 'trace'])
      expect((await get(`/api/ops/${what}/00000000-0000-4000-8000-000000000000`)).status).toBe(404);
  });
});
