/** The http executor against real servers on loopback: what is sent, what comes back, and what each end means. */
import { randomUUID } from 'node:crypto';
import { type AddressInfo, createServer } from 'node:net';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { createHttp } from '../../local/executors/http/http.js';
import { keepBytes } from '../../local/executors/http/params.js';
import type { Json } from '../../local/executors/json.js';
import { until } from '../support/until.js';
import { checkExecutor, runStep, type Surroundings, startStep } from './kit.js';
import { hangUp, openReceiver, reply, saysNothing } from './receiver.js';

const here = await openReceiver();
const elsewhere = await openReceiver();
const http = createHttp({
  resolve: (name) =>
    name === 'slow.test' ? new Promise(() => {}) : Promise.reject(new Error(`nobody knows ${name}`)),
});

type Policy = { [name: string]: Json };
const around = (policy: Policy = {}, more: Surroundings = {}): Surroundings => ({
  secrets: { TOKEN: 'token-value-1', DATABASE_URL: 'postgresql://secret' },
  policies: {
    worker_policy: { allowed_hosts: [here.origin, elsewhere.origin], ...policy },
    agent_roles: {},
  },
  ...more,
});
const run = async (params: object, policy?: Policy, more?: Surroundings) => {
  const outcome = await runStep(http, { url: `${here.origin}/x`, ...params }, around(policy, more));
  if (outcome.kind === 'complete') return { result: outcome.result as Record<string, unknown> };
  return outcome.kind === 'fail' ? outcome.failure : outcome;
};

const url = `${here.origin}/x`;
checkExecutor(http, {
  good: [
    { params: { url }, around: around() },
    {
      params: {
        ...{ method: 'POST', url, json: { a: 1 }, save: 'text', expect: [200] },
        headers: { authorization: { secret: 'TOKEN', scheme: 'Bearer' }, 'x-a': 'b' },
      },
      around: around({ allowed_secrets: { TOKEN: ['127.0.0.1'] } }),
    },
  ],
  bad: [
    {},
    { url, method: 'TRACE' },
    { url, body: 'a', json: {} },
    { url, body: 'a' },
    { url, save: 'html' },
    { url, expect: [] },
    { url, headers: { 'a b': 'c' } },
    { url, headers: { a: { env: 'TOKEN' } } },
    { url, follow: true },
  ],
  long: {
    params: { url: 'https://slow.test/' },
    around: { policies: { worker_policy: { allowed_hosts: ['slow.test'] }, agent_roles: {} } },
  },
});

describe('a call', () => {
  test('sends method, body, headers and the step id as its idempotency key', async () => {
    const stepId = randomUUID();
    const params = { method: 'POST', json: { a: [1, null] }, headers: { 'X-Mine': 'yes' } };
    expect(await run(params, {}, { stepId })).toMatchObject({ result: { status: 200 } });
    expect(here.received).toMatchObject([
      {
        method: 'POST',
        path: '/x',
        body: '{"a":[1,null]}',
        headers: {
          'idempotency-key': stepId,
          'content-type': 'application/json',
          'x-mine': 'yes',
          'user-agent': 'ops-loop',
        },
      },
    ]);
  });

  test('sends text as text, and the same key on every attempt', async () => {
    const stepId = randomUUID();
    for (const attempt of [1, 2]) await run({ method: 'PUT', body: 'plain' }, {}, { stepId, attempt });
    expect(here.received.map(({ body, headers }) => [body, headers['idempotency-key']])).toEqual([
      ['plain', stepId],
      ['plain', stepId],
    ]);
    expect(here.received[0]?.headers['content-type']).toBe('text/plain; charset=utf-8');
  });

  test('answers status, some headers, and the body as asked for', async () => {
    const headers = { 'x-request-id': 'r1', etag: '"1"', 'set-cookie': 'a=b', 'x-other': 'no' };
    here.answer(reply(201, { id: 7 }, headers));
    const url = `${here.origin}/x?token=in-query`;
    expect(await run({ url, save: 'json' })).toEqual({
      result: {
        status: 201,
        url: `${here.origin}/x`,
        redirects: 0,
        headers: { 'content-type': 'application/json', etag: '"1"', 'x-request-id': 'r1' },
        bytes: 8,
        truncated: false,
        body: { id: 7 },
      },
    });
    expect(await run({ save: 'text' })).toMatchObject({ result: { body: '{"id":7}' } });
    expect((await run({})) as object).not.toHaveProperty('result.body');
  });

  test.each([
    [{ 'content-encoding': 'gzip' }, gzipSync('squeezed')],
    [{ 'content-encoding': 'br' }, brotliCompressSync('squeezed')],
    [{ 'content-type': 'text/plain; charset=iso-8859-1' }, Buffer.from('squeezed', 'latin1')],
    [{ 'content-type': 'text/plain; charset=klingon' }, Buffer.from('squeezed')],
  ])('reads %j', async (headers, body) => {
    here.answer(reply(200, body, headers));
    expect(await run({ save: 'text' })).toMatchObject({ result: { body: 'squeezed' } });
  });

  test('encodes what stands in query, beside what the URL has', async () => {
    await run({ url: `${here.origin}/x?a=1`, query: { b: 'two & three=4', n: 5, ok: true } });
    expect(here.received[0]?.path).toBe('/x?a=1&b=two+%26+three%3D4&n=5&ok=true');
  });

  test.each(['/repos/../user', '/repos/..', '/a/%2E%2e/b', '/./b', '/a\\b', '/a b', '/a\n/b', '/..?x'])(
    'is not made to a path that climbs or hides: %j',
    async (path) => {
      expect(await run({ url: here.origin + path })).toMatchObject({ error_class: 'HostRefused' });
      expect(here.received).toEqual([]);
    },
  );

  test.each(['/a..b/c', '/.well-known/x', '/v1...v2', '/x?p=../y#../z'])('is made to %s', async (path) => {
    expect(await run({ url: here.origin + path })).toMatchObject({ result: { status: 200 } });
  });

  test('goes to granted hosts only, and by default to none', async () => {
    for (const policy of [{ allowed_hosts: [] }, { allowed_hosts: 'all' }, { allowed_hosts: [1] }])
      expect(await run({}, policy)).toMatchObject({ outcome: 'permanent', error_class: 'HostRefused' });
    const nothing = await runStep(http, { url: `${here.origin}/x` });
    expect(nothing).toMatchObject({ kind: 'fail', failure: { error_class: 'HostRefused' } });
    expect(here.received).toEqual([]);
  });
});

describe('a secret', () => {
  const headers = { authorization: { secret: 'TOKEN', scheme: 'Bearer' }, 'x-key': { secret: 'TOKEN' } };
  const granted = { allowed_secrets: { TOKEN: ['127.0.0.1'] } };

  test('goes into headers by name, and never into what is stored', async () => {
    here.answer((response, { headers: got }) => reply(200, { echo: got })(response, {} as never));
    const stored = JSON.stringify(await run({ headers, save: 'json' }, granted));
    expect(here.received[0]?.headers).toMatchObject({
      authorization: 'Bearer token-value-1',
      'x-key': 'token-value-1',
    });
    expect(stored).toContain('[redacted]');
    expect(stored).not.toContain('token-value-1');
  });

  test.each<[string, Policy, object]>([
    ['no policy grants', {}, headers],
    ['is granted for another host', { allowed_secrets: { TOKEN: ['api.github.com', '*.0.0.1x'] } }, headers],
    ['is granted in a wrong form', { allowed_secrets: { TOKEN: '127.0.0.1' } }, headers],
    [
      'is the loop’s own',
      { allowed_secrets: { DATABASE_URL: ['127.0.0.1'] } },
      { 'x-key': { secret: 'DATABASE_URL' } },
    ],
    ['is a word of the language', {}, { 'x-key': { secret: 'constructor' } }],
  ])('that %s is refused before anything is sent', async (_why, policy, sent) => {
    expect(await run({ headers: sent }, policy)).toMatchObject({
      outcome: 'permanent',
      error_class: 'SecretRefused',
    });
    expect(here.received).toEqual([]);
  });

  test('that is not set here says so by name', async () => {
    const policy = { allowed_secrets: { OTHER: ['127.0.0.1'] } };
    expect(await run({ headers: { 'x-key': { secret: 'OTHER' } } }, policy)).toMatchObject({
      error_class: 'SecretMissing',
      error: expect.stringContaining('OTHER'),
    });
  });

  test.each([
    { Authorization: 'Bearer written-out' },
    { cookie: 'a=b' },
    { host: 'other' },
    { 'Idempotency-Key': 'mine' },
    { 'Transfer-Encoding': 'chunked' },
    { 'proxy-authorization': 'x' },
    { 'x-a': 'line\r\nx-b: smuggled' },
    { 'x-a': 'ünicode' },
  ])('or header %j written out is refused', async (sent) => {
    expect(await run({ headers: sent })).toMatchObject({
      outcome: 'permanent',
      error_class: 'InvalidParams',
    });
    expect(here.received).toEqual([]);
  });
});

describe('a redirect', () => {
  const to = (location: string, status = 302) => reply(status, '', { location });
  const secret = {
    headers: { authorization: { secret: 'TOKEN' }, 'x-key': { secret: 'TOKEN' }, 'x-a': 'b' },
  };
  const granted = { allowed_secrets: { TOKEN: ['127.0.0.1'] } };

  test('within an origin keeps the headers, at most three times', async () => {
    here.answer(to('/y'), to('./z?q=1'), to('/w', 307), reply(200, 'end'));
    expect(await run({ ...secret, save: 'text' }, granted)).toMatchObject({
      result: { redirects: 3, body: 'end', url: `${here.origin}/w` },
    });
    expect(here.received.map(({ path }) => path)).toEqual(['/x', '/y', '/z?q=1', '/w']);
    expect(here.received[3]?.headers.authorization).toBe('token-value-1');
    here.answer(to('/x'));
    expect(await run({})).toMatchObject({ outcome: 'permanent', error_class: 'TooManyRedirects' });
    expect(here.received).toHaveLength(8);
  });

  test('to another origin loses everything secret, and keeps the rest', async () => {
    here.answer(to(`${elsewhere.origin}/there`, 307));
    expect(await run({ ...secret, method: 'POST', body: 'b' }, granted)).toMatchObject({
      result: { status: 200 },
    });
    const [got] = elsewhere.received;
    expect(got).toMatchObject({ method: 'POST', body: 'b', headers: { 'x-a': 'b' } });
    expect(JSON.stringify(got)).not.toContain('token-value-1');
  });

  test.each([
    [301, 'POST', 'GET'],
    [302, 'POST', 'GET'],
    [303, 'PUT', 'GET'],
    [307, 'PUT', 'PUT'],
    [308, 'POST', 'POST'],
    [301, 'PUT', 'PUT'],
  ])('%i turns %s into %s', async (status, method, then) => {
    here.answer(to('/y', status), reply(200));
    await run({ method, json: { a: 1 } });
    expect(here.received[1]).toMatchObject({ method: then, body: then === 'GET' ? '' : '{"a":1}' });
    expect('content-type' in (here.received[1]?.headers ?? {})).toBe(then !== 'GET');
  });

  test.each([
    'http://169.254.169.254/latest/meta-data/',
    'http://127.0.0.1:1/',
    'https://internal.test/',
    'file:///etc/passwd',
    'http://user:pw@127.0.0.1/',
    '//localhost./',
  ])('to %s is refused', async (location) => {
    here.answer(to(location));
    expect(await run({})).toMatchObject({ outcome: 'permanent', error_class: 'HostRefused' });
    expect(here.received).toHaveLength(1);
  });

  test('that is expected is an answer', async () => {
    here.answer(to('/y', 302));
    expect(await run({ expect: [302] })).toMatchObject({ result: { status: 302, redirects: 0 } });
  });
});

describe('what an answer means', () => {
  const asked = async (status: number, params: object, headers: Record<string, string> = {}) => {
    here.answer(reply(status, `told ${status}`, headers));
    return run(params);
  };
  const post = { method: 'POST' };

  test.each<[number, object, object]>([
    [200, {}, { result: { status: 200 } }],
    [204, post, { result: { status: 204 } }],
    [404, { expect: [404] }, { result: { status: 404 } }],
    [200, { expect: [201] }, { outcome: 'permanent', error_class: 'HTTP 200' }],
    [400, {}, { outcome: 'permanent', error_class: 'HTTP 400' }],
    [401, post, { outcome: 'permanent' }],
    [404, {}, { outcome: 'permanent', error: expect.stringMatching(/answered 404: told 404$/) }],
    [408, post, { outcome: 'retryable' }],
    [425, post, { outcome: 'retryable' }],
    [429, post, { outcome: 'rate_limited' }],
    [500, {}, { outcome: 'retryable' }],
    [500, { method: 'PUT' }, { outcome: 'retryable' }],
    [500, { method: 'DELETE' }, { outcome: 'retryable' }],
    [500, post, { outcome: 'unknown' }],
    [500, { method: 'PATCH' }, { outcome: 'unknown' }],
    [502, { ...post, idempotent: true }, { outcome: 'retryable' }],
    [502, { idempotent: false }, { outcome: 'unknown' }],
    [501, post, { outcome: 'permanent' }],
    [503, post, { outcome: 'retryable' }],
    [504, post, { outcome: 'unknown' }],
  ])('%i to %j', async (status, params, expected) => {
    expect(await asked(status, params)).toMatchObject(expected);
  });

  test.each<[number, Record<string, string>, object]>([
    [429, { 'retry-after': '17' }, { outcome: 'rate_limited', retry_after_seconds: 17 }],
    [503, { 'retry-after': '2' }, { outcome: 'rate_limited', retry_after_seconds: 2 }],
    [429, { 'retry-after': '99999999' }, { outcome: 'rate_limited', retry_after_seconds: 604_800 }],
    [
      429,
      { date: 'Fri, 20 Nov 2026 08:00:00 GMT', 'retry-after': 'Fri, 20 Nov 2026 08:01:30 GMT' },
      { outcome: 'rate_limited', retry_after_seconds: 90 },
    ],
    [
      429,
      { date: 'Fri, 20 Nov 2026 08:00:00 GMT', 'retry-after': 'Fri, 20 Nov 2020 08:00:00 GMT' },
      { outcome: 'rate_limited', retry_after_seconds: 0 },
    ],
    [429, { 'retry-after': 'soon' }, { outcome: 'rate_limited' }],
    [503, { 'retry-after': '-5' }, { outcome: 'retryable' }],
  ])('%i with %j', async (status, headers, expected) => {
    expect(await asked(status, { method: 'POST' }, headers)).toMatchObject(expected);
  });

  test('JSON that is none, or too long, fails for good after one call', async () => {
    here.answer(reply(200, 'no json'));
    expect(await run({ save: 'json' })).toMatchObject({
      outcome: 'permanent',
      error_class: 'UnreadableAnswer',
    });
    here.answer(reply(200, `"${'x'.repeat(keepBytes)}"`));
    expect(await run({ save: 'json' })).toMatchObject({ error_class: 'UnreadableAnswer' });
    expect(here.received).toHaveLength(2);
  });
});

describe('an answer without end', () => {
  test('is cut where it stops being kept, also when it is squeezed', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, 'x'));
    here.answer(reply(200, bomb, { 'content-encoding': 'gzip' }));
    const before = process.memoryUsage.rss();
    expect(await run({ save: 'text' })).toMatchObject({ result: { truncated: true, bytes: keepBytes } });
    expect(process.memoryUsage.rss() - before).toBeLessThan(48 * 1024 * 1024);
    let stopped = false;
    here.answer((response) => {
      response.on('close', () => {
        stopped = true;
      });
      const pour = () => {
        while (!response.destroyed && response.write('y'.repeat(65_536)));
      };
      response.on('drain', pour);
      pour();
    });
    expect(await run({ save: 'text' })).toMatchObject({ result: { truncated: true, bytes: keepBytes } });
    await until(() => stopped, { what: 'the sender is told to stop' });
  });

  test('cuts no character in half', async () => {
    here.answer(reply(200, `x${'€'.repeat(keepBytes / 2)}`));
    const { result } = (await run({ save: 'text' })) as { result: { body: string } };
    expect(result.body.endsWith('€')).toBe(true);
  });

  test('that trickles runs out of time', async () => {
    here.answer((response) => {
      response.writeHead(200);
      response.write('a');
    });
    expect(await run({ timeout_seconds: 0.1, save: 'text' })).toMatchObject({
      outcome: 'retryable',
      error: expect.stringContaining('timeout'),
    });
  });
});

describe('a call that gets no answer', () => {
  const nowhere = async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    return `http://127.0.0.1:${port}`;
  };

  test('was never sent when nobody listens: retryable, whatever the method', async () => {
    const origin = await nowhere();
    expect(await run({ method: 'POST', url: origin }, { allowed_hosts: [origin] })).toMatchObject({
      outcome: 'retryable',
      error_class: 'NotSent',
      error: expect.stringContaining('ECONNREFUSED'),
    });
  });

  test('was never sent when the name does not resolve, or the other side speaks no TLS', async () => {
    const lost = createHttp({ resolve: () => Promise.reject(new Error('ENOTFOUND')) });
    const policies = { worker_policy: { allowed_hosts: ['api.test'] }, agent_roles: {} };
    const outcome = await runStep(lost, { method: 'POST', url: 'https://api.test/' }, { policies });
    expect(outcome).toMatchObject({ failure: { outcome: 'retryable', error_class: 'NotSent' } });
    const secure = here.origin.replace('http:', 'https:');
    expect(await run({ method: 'POST', url: secure }, { allowed_hosts: [secure] })).toMatchObject({
      outcome: 'retryable',
      error_class: 'NotSent',
    });
    expect(here.received).toEqual([]);
  });

  test.each([
    [{ method: 'POST', json: {} }, 'unknown'],
    [{ method: 'PATCH', json: {} }, 'unknown'],
    [{ method: 'POST', idempotent: true }, 'retryable'],
    [{ method: 'GET' }, 'retryable'],
    [{ method: 'DELETE' }, 'retryable'],
  ])('hung up after %j: %s', async (params, outcome) => {
    here.answer(hangUp);
    expect(await run(params)).toMatchObject({ outcome, error_class: 'BrokenOff' });
    here.answer(saysNothing);
    expect(await run({ ...params, timeout_seconds: 0.1 })).toMatchObject({ outcome });
    here.answer((response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('half');
      response.socket?.end();
    });
    expect(await run(params)).toMatchObject({ outcome });
    expect(here.received).toHaveLength(3);
  });

  test('after a redirect has been sent before, even if the second host is away', async () => {
    const origin = await nowhere();
    here.answer(reply(303, '', { location: origin }));
    const policy = { allowed_hosts: [here.origin, origin] };
    expect(await run({ method: 'POST' }, policy)).toMatchObject({ outcome: 'unknown' });
    expect(await run({ method: 'GET' }, policy)).toMatchObject({ outcome: 'retryable' });
  });

  test('at shutdown says how far it came', async () => {
    here.answer(saysNothing);
    const ended = async (params: object) => {
      const before = here.received.length;
      const step = startStep(http, { url: `${here.origin}/x`, ...params }, around());
      await until(() => here.received.length > before, { what: 'the call arrives' });
      step.end('shutdown');
      return step.outcome;
    };
    expect(await ended({ method: 'POST' })).toMatchObject({ failure: { outcome: 'unknown' } });
    expect(await ended({ method: 'GET' })).toMatchObject({ failure: { outcome: 'retryable' } });
    const slow = createHttp({ resolve: () => new Promise(() => {}) });
    const policies = { worker_policy: { allowed_hosts: ['api.test'] }, agent_roles: {} };
    const step = startStep(slow, { method: 'POST', url: 'https://api.test/' }, { policies });
    step.end('shutdown');
    expect(await step.outcome).toMatchObject({ failure: { outcome: 'retryable', error_class: 'NotSent' } });
  });
});

describe('the doctor', () => {
  test('names entries that grant nothing and secrets that are not set', async () => {
    const config = around({ allowed_hosts: ['a.test', 'b.test@10'], allowed_secrets: { GONE: ['a.test'] } });
    const findings = await http.doctor?.({
      secret: () => undefined,
      setting: () => undefined,
      workspace: '.',
      config: config.policies ?? { worker_policy: {}, agent_roles: {} },
    });
    expect(findings).toMatchObject([
      { ok: false, message: expect.stringContaining('b.test@10') },
      { ok: false, message: expect.stringContaining('GONE') },
    ]);
  });
});
