/** The routes of operators over the real engine; every answer is what `openapi.json` says it is. */
import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type App, createApp } from '../../vercel/app/app.js';
import { parseControlEnv } from '../../vercel/app/env.js';
import { noop, only, useEngine } from '../sql/engine-kit.js';
import { apiKey, bearer, json, secrets, someId } from '../unit/http-app.js';

const engine = useEngine();
const key = bearer(apiKey);
const silent = { info: () => {}, warn: () => {}, error: () => {} };
let app: App;
beforeAll(() => {
  app = createApp({ port: engine.port, env: parseControlEnv(secrets), log: silent, now: () => new Date() });
});

type Responses = Record<string, { content?: Record<string, { schema: object }>; $ref?: string }>;
type Document = {
  paths: Record<string, Record<string, { responses: Responses }>>;
  components: { schemas: object };
};
let described: Promise<Document> | undefined;
const document = (): Promise<Document> => {
  described ??= (async () => (await (await app.request('/api/ops/openapi.json')).json()) as Document)();
  return described;
};
/** JSON Schema keeps its definitions elsewhere than OpenAPI does. */
const inPlace = (part: object): object =>
  JSON.parse(JSON.stringify(part).replaceAll('#/components/schemas/', '#/$defs/'));

/** Fails unless the document has this answer of this route, as it is. */
async function expectDescribed(method: string, path: string, status: number, body: unknown): Promise<void> {
  const { paths, components } = await document();
  const bare = path.split('?')[0] ?? '';
  const [route = ''] = Object.keys(paths).filter((known) =>
    new RegExp(`^${known.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(bare),
  );
  const responses = paths[route]?.[method.toLowerCase()]?.responses ?? {};
  const schema = responses[status]?.content?.['application/json']?.schema;
  if (status >= 400)
    return expect([route, body]).toEqual([route, expect.objectContaining({ code: expect.any(String) })]);
  if (schema === undefined) throw new Error(`${method} ${route} says nothing of ${status}`);
  const parsed = z
    .fromJSONSchema({ ...inPlace(schema), $defs: inPlace(components.schemas) } as never)
    .safeParse(body);
  expect([route, parsed.error?.issues ?? []]).toEqual([route, []]);
}

async function ask(method: string, path: string, sent?: unknown) {
  const init = sent === undefined ? { method, headers: key } : { ...json(sent, key), method };
  const response = await app.request(`/api/ops${path}`, init);
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked into member by member
  const body: any = await response.json();
  await expectDescribed(method, `/api/ops${path}`, response.status, body);
  return { status: response.status, body };
}
const get = (path: string) => ask('GET', path);
const post = (path: string, sent?: unknown) => ask('POST', path, sent);

describe('missions and steps', () => {
  it('are listed by pages, shown whole, and retried from the last good step', async () => {
    const ids = [
      await engine.mission([noop('a'), noop('b')], 'one'),
      await engine.mission([noop('c')], 'two'),
    ];
    const first = await get('/missions?limit=1');
    expect(first.body.missions).toMatchObject([{ id: ids[1], title: 'two', status: 'approved' }]);
    const second = await get(`/missions?limit=1&cursor=${encodeURIComponent(first.body.next_cursor)}`);
    expect(second.body).toMatchObject({ missions: [{ id: ids[0] }] });
    expect((await get('/missions?status=failed')).body).toEqual({ missions: [], next_cursor: null });

    await engine.complete((await engine.claim()).filter(({ mission_id }) => mission_id === ids[0]));
    const failed = only((await engine.claim()).filter(({ mission_id }) => mission_id === ids[0]));
    await engine.fail([failed], 'permanent');
    expect((await get(`/missions/${ids[0]}`)).body).toMatchObject({
      status: 'failed',
      steps: [{ key: 'a' }, { key: 'b', last_error: 'it broke' }],
    });
    expect((await get(`/steps/${failed.id}`)).body).toMatchObject({
      status: 'failed',
      attempts: [{ status: 'failed' }],
    });
    expect(await post(`/missions/${ids[0]}/retry`)).toMatchObject({
      status: 200,
      body: { status: 'running' },
    });
    const { resolution } = await engine.db.one('select resolution from ops_step_dead_letters');
    expect(resolution).toContain('by api-key');
  });

  it('are cancelled with a reason, signed by the key', async () => {
    const id = await engine.mission([noop('a'), noop('b')]);
    const step = await engine.step(id, 'b');
    expect(await post(`/steps/${step.id}/cancel`, { reason: 'not needed' })).toMatchObject({
      status: 200,
      body: { id: step.id, status: 'cancelled', mission_id: id },
    });
    expect((await engine.step(id, 'b')).last_error).toBe('not needed (by api-key)');
    expect(await post(`/missions/${id}/cancel`, {})).toMatchObject({
      status: 200,
      body: { status: 'cancelled' },
    });
    expect(await post(`/steps/${step.id}/retry`)).toMatchObject({ status: 409, body: { code: 'OPS_015' } });
  });

  it('that failed run again, in the name of the key', async () => {
    await engine.mission([noop('a')]);
    const failed = only(await engine.claim());
    await engine.fail([failed], 'permanent');
    const retried = await post(`/steps/${failed.id}/retry`, { reason: 'mended' });
    expect(retried).toMatchObject({ status: 200, body: { id: failed.id, status: 'queued' } });
    const { resolution } = await engine.db.one('select resolution from ops_step_dead_letters');
    expect(resolution).toContain('mended (by api-key)');
  });

  it.each([
    ['GET', `/missions/${someId}`, 404],
    ['GET', `/steps/${someId}`, 404],
    ['POST', `/missions/${someId}/cancel`, 404],
    ['POST', `/missions/${someId}/retry`, 404],
    ['POST', `/steps/${someId}/retry`, 404],
    ['POST', `/steps/${someId}/cancel`, 404],
    ['GET', '/missions/x', 400],
    ['POST', '/steps/x/retry', 400],
    ['GET', '/missions?status=lost', 400],
    ['GET', '/missions?cursor=x', 400],
    ['GET', '/missions?colour=red', 400],
  ])('%s %s is a %i', async (method, path, status) => {
    expect((await ask(method, path)).status).toBe(status);
  });

  it('refuse a body that names somebody', async () => {
    const { status, body } = await post(`/missions/${someId}/cancel`, { actor: 'root' });
    expect([status, body.errors[0].pointer]).toEqual([400, '/actor']);
  });
});

describe('dead letters', () => {
  const die = async (count: number) => {
    for (let n = 0; n < count; n++) await engine.mission([noop('a')]);
    await engine.fail(await engine.claim(), 'permanent');
    return (await get('/dead-letters?limit=100')).body.dead_letters as { id: string; step_id: string }[];
  };

  it('are requeued one by one or by a filter, and discarded with a reason only', async () => {
    const [first, second, third] = await die(3);
    expect(await post(`/dead-letters/${first?.id}/requeue`)).toMatchObject({
      status: 200,
      body: { id: first?.id, state: 'requeued', step_id: first?.step_id },
    });
    for (const sent of [{}, { reason: ' ' }])
      expect((await post(`/dead-letters/${second?.id}/discard`, sent)).status).toBe(400);
    const discarded = await post(`/dead-letters/${second?.id}/discard`, { reason: 'known' });
    expect(discarded.body).toMatchObject({ state: 'discarded' });
    expect((await post(`/dead-letters/${second?.id}/requeue`)).status).toBe(409);
    const none = { filter: { executor: 'http' } };
    expect((await post('/dead-letters/requeue-all', none)).body).toEqual({ requeued: 0, more: false });
    expect((await post('/dead-letters/requeue-all', { limit: 1, per_minute: 60 })).body).toEqual({
      requeued: 1,
      more: true,
    });
    const letters = await engine.db.sql('select state, resolution from ops_step_dead_letters order by state');
    expect(letters).toEqual([
      { state: 'discarded', resolution: 'known (by api-key)' },
      expect.objectContaining({ state: 'requeued' }),
      expect.objectContaining({ state: 'requeued' }),
    ]);
    expect(third).toBeDefined();
    expect((await post('/dead-letters/requeue-all', { filter: { colour: 'red' } })).status).toBe(400);
    expect((await post(`/dead-letters/${someId}/requeue`)).status).toBe(404);
  });
});

describe('policies', () => {
  const put = (name: string, sent: unknown) => ask('PUT', `/policies/${name}`, sent);
  const caps = { daily_limit: 50 };

  it('are listed, read, written under a version, and rolled back, each write signed', async () => {
    const { body: written } = await put('proposal_caps', { value: caps, reason: 'a calm week' });
    expect((await get('/policies/proposal_caps')).body).toMatchObject({
      value: caps,
      version: written.version,
    });
    const keys = (await get('/policies')).body.policies.map((policy: { key: string }) => policy.key);
    expect(keys).toContain('proposal_caps');
    const stale = await put('proposal_caps', { value: { daily_limit: 60 }, version: written.version - 1 });
    expect([stale.status, stale.body.code]).toEqual([409, 'OPS_015']);
    const fresh = await put('proposal_caps', { value: { daily_limit: 60 }, version: written.version });
    expect(fresh.body).toEqual({ key: 'proposal_caps', version: written.version + 1 });
    const same = await put('proposal_caps', { value: { daily_limit: 60 }, version: fresh.body.version });
    expect(same.body).toEqual(fresh.body);
    const back = await post('/policies/proposal_caps/rollback', { version: written.version });
    expect(back.status).toBe(200);
    expect((await get('/policies/proposal_caps')).body.value).toEqual(caps);
    const { versions, next_before } = (await get('/policies/proposal_caps/history?limit=2')).body;
    expect(versions.map(({ version }: { version: number }) => version)).toEqual([
      written.version + 2,
      written.version + 1,
    ]);
    const rest = (await get(`/policies/proposal_caps/history?limit=2&before=${next_before}`)).body.versions;
    expect(rest[0]).toMatchObject({ version: written.version, reason: 'a calm week (by api-key)' });
  });

  it('that are wrong are refused with the path, and leave an event', async () => {
    const wrong = { value: { daily_limit: -1 } };
    const judged = await post('/policies/proposal_caps/validate', wrong);
    expect(judged).toMatchObject({ status: 200, body: { valid: false, problems: [{ severity: 'error' }] } });
    const refused = await put('proposal_caps', wrong);
    expect([refused.status, refused.body.code]).toEqual([422, 'OPS_008']);
    expect(refused.body.detail).toContain('$.daily_limit');
    const [event] = await engine.db.sql("select data from ops_agent_events where type = 'policy:refused'");
    expect(event).toMatchObject({ data: { key: 'proposal_caps' } });
    expect((await post('/policies/proposal_caps/validate', { value: caps })).body).toEqual({
      valid: true,
      problems: [],
    });
  });

  it('are held against events that have happened', async () => {
    await engine.emit('shop:order', { total: 7 });
    await engine.beat();
    const template = { title: 'Look', steps: [noop('a')] };
    const reaction_matrix = {
      patterns: [{ id: 'big', event_type: 'shop:order', where: '$.data.total > 5', template }],
    };
    const simulated = await post('/policies/simulate', { drafts: { reaction_matrix } });
    expect(simulated).toMatchObject({ status: 200, body: { differences: { starts: 1, stops: 0 } } });
    const given = await post('/policies/simulate', {
      drafts: { reaction_matrix },
      events: [{ type: 'shop:order' }],
    });
    expect(given.body).toMatchObject({ events: 1, decisions: [{ pattern_id: 'big', outcome: 'unmatched' }] });
    expect((await post('/policies/simulate')).status).toBe(200);
    const broken = { drafts: { reaction_matrix: { patterns: [{ id: 'x' }] } } };
    expect((await post('/policies/simulate', broken)).body.code).toBe('OPS_008');
  });

  it.each<[string, string, unknown, number]>([
    ['GET', '/policies/colours', undefined, 400],
    ['PUT', '/policies/colours', { value: {} }, 400],
    ['PUT', '/policies/auto_approve', {}, 400],
    ['PUT', '/policies/auto_approve', { value: {}, actor: 'root' }, 400],
    ['GET', '/policies/budgets', undefined, 409],
    ['POST', '/policies/auto_approve/rollback', { version: 99_999 }, 404],
    ['POST', '/policies/auto_approve/rollback', {}, 400],
    ['POST', '/policies/simulate', { drafts: { colours: {} } }, 400],
    ['POST', '/policies/simulate', { cursor: { until: 'x' } }, 400],
    ['GET', '/policies/auto_approve/history?before=x', undefined, 400],
  ])('%s %s with %j is a %i', async (method, path, sent, status) => {
    expect((await ask(method, path, sent)).status).toBe(status);
  });
});

describe('what the document says of the other routes', () => {
  it('is what they answer', async () => {
    const template = { title: 'Say hello', risk_level: 'critical', steps: [noop('a')] };
    await engine.setPolicy('auto_approve', { enabled: false });
    const { body: proposal } = await post('/proposals', { template });
    const { body: signal } = await post('/radar', { title: 'Dark mode', evidence: { likes: 3 } });
    const { body: event } = await post('/events', { type: 'shop:order' });
    expect((await post('/events', [{ type: 'shop:order' }, { type: 'shop:order' }])).status).toBe(201);
    expect((await post('/heartbeat')).status).toBe(200);
    for (const path of [
      '/status',
      '/overview',
      '/proposals',
      '/dead-letters',
      '/radar',
      '/radar/top',
      '/llm/health',
      '/health',
      '/ready',
    ])
      expect([path, (await get(path)).status]).toEqual([path, 200]);
    for (const path of [
      `/why/${event.id}`,
      `/trace/${event.id}`,
      `/why/${proposal.id}`,
      `/radar/${signal.id}`,
    ])
      expect([path, (await get(path)).status]).toEqual([path, 200]);
    expect((await post(`/radar/${signal.id}/move`, { stage: 'validating' })).status).toBe(200);
    expect(
      (await post(`/proposals/${proposal.id}/revise`, { template: { ...template, title: 'Better' } })).status,
    ).toBe(201);
    expect((await post('/llm/check')).status).toBe(202);
    expect((await post('/llm/reset')).status).toBe(202);
    expect((await post('/session/link')).status).toBe(201);
  });
});

describe('the stream', () => {
  it('tells of an event, its mission and its end while somebody listens', async () => {
    const since = new Date().toISOString();
    await engine.emit('shop:order');
    const id = await engine.mission([noop('a')], 'streamed');
    await engine.complete(await engine.claim());
    const resumed = await app.request('/api/ops/stream', { headers: { ...key, 'Last-Event-ID': since } });
    const reader = resumed.body?.getReader();
    const { value } = (await reader?.read()) ?? {};
    await reader?.cancel();
    const text = new TextDecoder().decode(value);
    expect(text).toContain('event: event\ndata: {"id":');
    expect(text).toContain('"name":"shop:order"');
    expect(text).toMatch(
      new RegExp(`event: mission\ndata: \\{"id":"${id}","name":"streamed","status":"succeeded"`),
    );
    expect(text).toMatch(/\nid: 20\d\d-.*\n\n$/);
  });
});
