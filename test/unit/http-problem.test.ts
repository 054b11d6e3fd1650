import { describe, expect, it } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { errorTable, type OpsCode, OpsError } from '../../supabase/client/errors.js';
import { describe as describeProblem } from '../../vercel/app/problem.js';
import { version } from '../../vercel/app/version.js';
import {
  apiKey,
  bearer,
  bodyOf,
  cronSecret,
  health,
  json,
  now,
  round,
  secrets,
  someId,
  testApp,
} from './http-app.js';

const key = bearer(apiKey);
const statusThrows = (error: unknown) => testApp({ status: () => Promise.reject(error) });
const canary = 'canary-5f1d';

describe('an error', () => {
  it('is a problem document with a code, a hint and the id of the request', async () => {
    const { app } = statusThrows(
      new OpsError('OPS_012', 'no such event', { hint: 'Look it up.', detail: { id: someId } }),
    );
    const response = await app.request('/api/ops/status?secret=1', {
      headers: { ...key, 'x-request-id': 'request-1' },
    });
    expect(response.status).toBe(404);
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    expect(await bodyOf(response)).toEqual({
      type: 'urn:ops-loop:error:OPS_012',
      title: 'not found',
      status: 404,
      detail: 'no such event',
      instance: '/api/ops/status',
      code: 'OPS_012',
      hint: 'Look it up.',
      request_id: 'request-1',
      context: { id: someId },
    });
  });

  const outside: [string, unknown, number][] = [
    ['a bug of ours', new TypeError(`cannot read ${canary}`), 500],
    [
      'an SQL error',
      Object.assign(new Error(`relation ${canary}`), { code: '23514', detail: canary, hint: canary }),
      500,
    ],
    ['a refused login', Object.assign(new Error(`password of ${canary}`), { code: '28P01' }), 503],
    [
      'a database that is away',
      Object.assign(new Error(`connect ECONNREFUSED ${canary}`), { code: 'ECONNREFUSED' }),
      503,
    ],
    ['a missing function', Object.assign(new Error(`function ${canary}`), { code: '42883' }), 503],
    ['a thrown text', canary, 500],
    ['nothing', undefined, 500],
  ];
  it.each(outside)('that is %s tells nothing of its text', async (_, error, status) => {
    const { app } = statusThrows(error);
    const response = await app.request('/api/ops/status', { headers: key });
    const text = await response.text();
    expect(response.status).toBe(status);
    expect(text).not.toContain(canary);
    expect(text).not.toContain(' at ');
    expect(response.headers.get('retry-after')).toBe(status === 503 ? '5' : null);
  });

  it('is in the log under the same request id: its name, code and message, and neither stack nor statement', async () => {
    const error = Object.assign(new Error('it broke'), {
      code: '23514',
      detail: canary,
      where: canary,
      internalQuery: canary,
    });
    const { app, lines } = statusThrows(error);
    const response = await app.request('/api/ops/status', { headers: key });
    const { request_id: id } = await bodyOf(response);
    const line = lines.find((l) => l.request_id === id);
    expect(line).toMatchObject({
      event: 'http.answered',
      status: 500,
      path: '/api/ops/status',
      error: { name: 'Error', code: '23514', message: 'it broke' },
    });
    expect(JSON.stringify(line)).not.toMatch(new RegExp(`${canary}|\\bat `));
  });

  it.each(Object.keys(errorTable) as OpsCode[])('%s answers the status of the table', (code) => {
    const problem = describeProblem(new OpsError(code, 'text'), '/x', 'id');
    expect(problem).toMatchObject({ code, status: errorTable[code].status, title: errorTable[code].meaning });
  });

  it('gives its own detail to nobody when it is a 5xx', () => {
    const problem = describeProblem(new OpsError('OPS_016', 'text', { detail: canary }), '/x', 'id');
    expect(JSON.stringify(problem)).not.toContain(canary);
  });

  it('is also what an unknown address gets', async () => {
    for (const path of ['/api/ops/nothing', '/x', '/dashboard/page.ts', '/dashboard/..%2fapp%2fapp.ts']) {
      const response = await testApp().app.request(path);
      expect(response.status).toBe(404);
      expect(await bodyOf(response)).toMatchObject({ code: 'OPS_012' });
    }
  });

  it('names an id that is none', async () => {
    const response = await testApp().app.request('/api/ops/why/x', { headers: key });
    expect(response.status).toBe(400);
    expect(await bodyOf(response)).toMatchObject({ code: 'OPS_011', errors: [{ pointer: '/id' }] });
  });
});

describe('the request id', () => {
  it.each(['abcdefgh', 'A-b_c.0-9', 'x'.repeat(64)])('%s is taken over', async (id) => {
    const response = await testApp().app.request('/health', { headers: { 'x-request-id': id } });
    expect(response.headers.get('x-request-id')).toBe(id);
  });

  it.each(['short', 'x'.repeat(65), 'a b c d e f', '<script>x</script>', '{"x":"1234"}'])(
    '%j is replaced',
    async (id) => {
      const response = await testApp().app.request('/health', { headers: { 'x-request-id': id } });
      expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    },
  );
});

describe('a heartbeat', () => {
  const post = (answers: Parameters<typeof testApp>[0]) =>
    testApp(answers).app.request('/api/ops/heartbeat', { method: 'POST', headers: key });

  it('answers the documented members', async () => {
    const response = await post({});
    expect(response.status).toBe(200);
    expect(await bodyOf(response)).toMatchObject({
      ok: true,
      triggerResult: { events: 2, queued: 1 },
      reactionResult: { processed: 1, created: 1 },
      leaseResult: { requeued_steps: 0, failed_steps: 0 },
      staleResult: { recovered: 0 },
    });
  });

  it('without the database is 503, a problem and a beat at once', async () => {
    const away = () => Promise.reject(Object.assign(new Error(canary), { code: 'ECONNREFUSED' }));
    const response = await post({ heartbeat: away, recordBeatFailure: away });
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('5');
    const text = await response.text();
    expect(JSON.parse(text)).toMatchObject({
      ok: false,
      code: 'OPS_001',
      triggerResult: { events: 0, queued: 0 },
    });
    expect(text).not.toContain(canary);
  });

  it('of which nothing worked is 500', async () => {
    const broken = () => Promise.reject(new Error(canary));
    const response = await post({ heartbeat: broken, recordBeatFailure: () => ({ beat_id: someId }) });
    expect(response.status).toBe(500);
    const text = await response.text();
    expect(JSON.parse(text)).toMatchObject({ ok: false, code: 'OPS_018', beat_id: someId });
    expect(text).not.toContain(canary);
  });

  const failures = (...phases: string[]) =>
    phases.map((phase) => ({ phase, code: '22012', message: canary }));
  it.each([
    ['one of seven phases failed', 7, failures('events'), 200],
    ['each phase that no switch paused failed', 3, failures('leases', 'stale', 'sweep'), 500],
    ['a switch paused every phase', 0, [], 200],
  ])('in which %s is judged by the phases that ran', async (_, phases, failed, status) => {
    const ok = failed.length === 0;
    const response = await post({ heartbeat: () => ({ ...round, ok, phases, failures: failed }) });
    expect(response.status).toBe(status);
    expect(await bodyOf(response)).toMatchObject({ ok, phases });
  });

  it('whose second round failed in every phase did work', async () => {
    const rounds = [
      { ...round, more: true, phases: 2 },
      { ...round, ok: false, phases: 2, failures: failures('leases', 'stale') },
    ];
    const response = await post({ heartbeat: () => rounds.shift() });
    expect(response.status).toBe(200);
    expect(await bodyOf(response)).toMatchObject({ ok: false, rounds: 2, phases: 4 });
  });
});

describe('health', () => {
  it.each(['/health', '/api/health', '/api/ops/health'])(
    '%s answers GET and HEAD without a key or a database',
    async (path) => {
      const { app, calls } = testApp({}, { ...secrets, OPS_ENVIRONMENT: 'staging' });
      const response = await app.request(path);
      expect(response.status).toBe(200);
      expect(await bodyOf(response)).toEqual({
        status: 'ok',
        timestamp: now.toISOString(),
        environment: 'staging',
        version,
      });
      const head = await app.request(path, { method: 'HEAD' });
      expect([head.status, await head.text()]).toEqual([200, '']);
      expect(calls).toEqual([]);
    },
  );

  it('has the version of the package', () => {
    expect(version).toBe(packageJson.version);
  });

  const readiness: [string, () => unknown, number, Record<string, string>][] = [
    ['healthy', () => health, 200, { database: 'ok', schema: 'ok', loop: 'ok', invariants: 'ok' }],
    ['degraded', () => ({ ...health, status: 'degraded' }), 200, { loop: 'degraded' }],
    ['unhealthy', () => ({ ...health, status: 'unhealthy', problems: [canary] }), 503, { loop: 'unhealthy' }],
    [
      'breaking invariants',
      () => ({ ...health, violations: ['running_without_attempt', 'max_running_exceeded'] }),
      503,
      { invariants: 'running_without_attempt, max_running_exceeded' },
    ],
    ['of another schema', () => ({ ...health, schema_version: '0000' }), 503, { database: 'ok' }],
    [
      'without the database',
      () => Promise.reject(Object.assign(new Error(canary), { code: 'ECONNREFUSED' })),
      503,
      { database: 'unreachable' },
    ],
  ];
  it.each(readiness)('when %s is ready or not', async (_, answer, status, checks) => {
    for (const path of ['/health/ready', '/api/ops/ready']) {
      const response = await testApp({ health: answer }).app.request(path);
      expect(response.status).toBe(status);
      const text = await response.text();
      expect(JSON.parse(text)).toMatchObject({ status: status === 200 ? 'ready' : 'not_ready', checks });
      expect(text).not.toContain(canary);
    }
  });
});

describe('lists', () => {
  it('pass the filter, the limit and the cursor on', async () => {
    const { app, calls } = testApp();
    const before = '2026-11-20T08:00:00.000Z';
    await app.request(`/api/ops/proposals?status=pending&limit=7&before=${before}`, { headers: key });
    await app.request('/api/ops/dead-letters?state=open', { headers: key });
    expect(calls).toEqual([
      ['listProposals', { status: 'pending', limit: 7, before }],
      ['listDeadLetters', { state: 'open', limit: 50 }],
    ]);
  });

  it('say where the next page begins, and null at the end', async () => {
    const rows = [{ created_at: '2026-01-02T00:00:00+00:00' }, { created_at: '2026-01-01T00:00:00+00:00' }];
    const { app } = testApp({ listProposals: () => rows });
    const next = async (limit: number) =>
      (await bodyOf(await app.request(`/api/ops/proposals?limit=${limit}`, { headers: key }))).next_before;
    expect(await next(2)).toBe('2026-01-01T00:00:00+00:00');
    expect(await next(3)).toBeNull();
  });

  it.each(['limit=0', 'limit=501', 'limit=x', 'status=lost', 'before=yesterday', 'colour=red'])(
    'refuse %s',
    async (query) => {
      const response = await testApp().app.request(`/api/ops/proposals?${query}`, { headers: key });
      expect(response.status).toBe(400);
    },
  );
});

describe('a verdict', () => {
  const approve = `/api/ops/proposals/${someId}/approve`;

  it('needs no body, and is signed by the holder of the key', async () => {
    const { app, calls } = testApp();
    expect((await app.request(approve, { method: 'POST', headers: key })).status).toBe(200);
    await app.request(`/api/ops/proposals/${someId}/reject`, json({ reason: 'no' }, key));
    expect(calls).toEqual([
      ['approveProposal', { id: someId, actor: 'api-key' }],
      ['rejectProposal', { id: someId, actor: 'api-key', reason: 'no' }],
    ]);
  });

  it.each([
    ['approve', { actor: 'ann' }],
    ['reject', { actor: 'ann' }],
    ['vote', { vote: 'approve', voter: 'ann' }],
    ['revise', { template: {}, actor: 'ann' }],
  ])('to %s that names somebody is refused, and says why', async (verb, body) => {
    const { app, calls } = testApp();
    const response = await app.request(`/api/ops/proposals/${someId}/${verb}`, json(body, key));
    expect(response.status).toBe(400);
    const [error] = (await bodyOf(response)).errors;
    expect(error).toEqual({
      pointer: expect.stringMatching(/^\/(actor|voter)$/),
      detail: 'is not taken from the body: it is the label of the key',
    });
    expect(calls).toEqual([]);
  });

  it('against a gate is 409 with the reason', async () => {
    const gate = () =>
      Promise.reject(new OpsError('OPS_003', 'the daily limit is reached', { hint: 'Wait.' }));
    const response = await testApp({ approveProposal: gate }).app.request(approve, {
      method: 'POST',
      headers: key,
    });
    expect(response.status).toBe(409);
    expect(await bodyOf(response)).toMatchObject({
      code: 'OPS_003',
      detail: 'the daily limit is reached',
      hint: 'Wait.',
    });
  });
});

it('keeps a cron secret out of everything else', async () => {
  const response = await testApp().app.request('/api/ops/status', { headers: bearer(cronSecret) });
  expect(response.status).toBe(401);
});
