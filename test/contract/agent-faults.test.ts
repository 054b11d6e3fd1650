/** Every way in which a provider can fail: what it means for the step, for the next provider, and for the breaker. */
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Health } from '../../local/executors/agent/health.js';
import { until } from '../support/until.js';
import { closeServers, key, nowhere, type Reply, serve, settings, start, think } from './agent-kit.js';

closeServers();
const good: Reply = { text: 'fine' };
/** Only those that are about time run out of it soon. */
const within = (errorClass: string) =>
  errorClass === 'ModelTimeout' ? { OPS_LLM_TIMEOUT_SECONDS: '0.1' } : {};

const faults: [what: string, reply: Reply, outcome: string, errorClass: string, retryAfter?: number][] = [
  ['a refused key', { status: 401 }, 'permanent', 'ModelKey'],
  ['a forbidden key', { status: 403 }, 'permanent', 'ModelKey'],
  ['no credit', { status: 402 }, 'permanent', 'ModelCredit'],
  [
    'a used-up quota',
    { status: 429, body: { error: { message: 'x', code: 'insufficient_quota' } } },
    'permanent',
    'ModelCredit',
  ],
  ['a limit in seconds', { status: 429, headers: { 'Retry-After': '7' } }, 'rate_limited', 'ModelLimited', 7],
  ['a bad request', { status: 400 }, 'permanent', 'ModelRequest'],
  ['an unknown model', { status: 404 }, 'permanent', 'ModelRequest'],
  ['an internal error', { status: 500 }, 'retryable', 'ModelServer'],
  ['a bad gateway', { status: 502 }, 'retryable', 'ModelServer'],
  ['an outage', { status: 503 }, 'retryable', 'ModelServer'],
  ['a redirect elsewhere', { status: 302, headers: { Location: nowhere } }, 'retryable', 'ModelConnection'],
  ['silence', { misbehave: 'hang' }, 'retryable', 'ModelTimeout'],
  ['an answer that stalls', { misbehave: 'stall' }, 'retryable', 'ModelTimeout'],
  ['an answer that breaks off', { misbehave: 'reset' }, 'retryable', 'ModelConnection'],
  ['an endless answer', { misbehave: 'endless' }, 'retryable', 'ModelSize'],
  ['an endless error', { misbehave: 'endless', status: 500 }, 'retryable', 'ModelServer'],
  ['what is not JSON', { raw: '<html>' }, 'retryable', 'ModelAnswer'],
  ['another form', { raw: '{"hello":"world"}' }, 'retryable', 'ModelAnswer'],
  ['another type', { raw: 'hello', headers: { 'Content-Type': 'text/plain' } }, 'retryable', 'ModelAnswer'],
  ['no choices', { raw: '{"choices":[]}' }, 'retryable', 'ModelAnswer'],
  ['nothing', { text: ' ' }, 'retryable', 'ModelAnswer'],
];

describe.each(faults)('%s', (_what, reply, outcome, error_class, retry_after_seconds) => {
  test('ends the attempt as what it is, with one call', async () => {
    const server = await serve(reply);
    const { failure } = await think({}, { secrets: { ...settings(server), ...within(error_class) } });
    expect(failure).toMatchObject({
      outcome,
      error_class,
      ...(retry_after_seconds && { retry_after_seconds }),
    });
    expect(failure?.error).toMatch(/^no model answered: custom /);
    expect(server.told).toHaveLength(1);
  });

  test('is got over by the next provider', async () => {
    const [ill, well] = [await serve(reply), await serve(good)];
    const { result } = await think({}, { secrets: { ...settings(well, ill), ...within(error_class) } });
    expect(result).toMatchObject({ text: 'fine', provider: 'custom', model: 'small-model' });
    expect([ill.told.length, well.told.length]).toEqual([1, 1]);
  });
});

test('a limit until a date is waited for', async () => {
  const at = new Date(Date.now() + 90_000).toUTCString();
  const server = await serve({ status: 429, headers: { 'Retry-After': at } });
  const { failure } = await think({}, { secrets: settings(server) });
  expect(failure?.retry_after_seconds).toBeGreaterThan(80);
  expect(failure?.retry_after_seconds).toBeLessThanOrEqual(90);
});

test('a redirect is not followed: the key stays with its provider', async () => {
  const thief = await serve(good);
  const server = await serve({ status: 307, headers: { Location: `${thief.url}/chat/completions` } });
  expect((await think({}, { secrets: settings(server) })).failure).toMatchObject({
    error_class: 'ModelConnection',
  });
  expect(thief.told).toEqual([]);
});

test('a server that is not there is a connection fault', async () => {
  const { failure } = await think({}, { secrets: settings({ url: nowhere }) });
  expect(failure).toMatchObject({ outcome: 'retryable', error_class: 'ModelConnection' });
});

test('a provider without a key is not called, and named with the variable that it lacks', async () => {
  const server = await serve(good);
  const { OPENAI_API_KEY: _, ...secrets } = settings(server, server);
  const { failure } = await think({}, { secrets: { ...secrets, OPS_LLM_PROVIDERS: 'openai' } });
  expect(failure).toMatchObject({ outcome: 'permanent', error_class: 'ModelKey' });
  expect(failure?.error).toContain('OPENAI_API_KEY is not set');
  expect(server.told).toEqual([]);
});

test('without any provider the step is refused for good', async () => {
  for (const secrets of [{}, { OPS_LLM_PROVIDERS: 'nobody' }, { OPS_LLM_PROVIDERS: 'custom' }])
    expect((await think({}, { secrets })).failure).toMatchObject({
      outcome: 'permanent',
      error_class: 'NoProvider',
    });
});

test('with several failures the one that may pass decides, and every provider is named', async () => {
  const [first, second] = [await serve({ status: 401 }), await serve({ status: 503 })];
  const { failure } = await think({}, { secrets: settings(second, first) });
  expect(failure).toMatchObject({ outcome: 'retryable', error_class: 'ModelServer' });
  expect(failure?.error).toBe('no model answered: openai refuses the key (401); custom failed (503)');
});

test('when all are limited the shortest wait counts', async () => {
  const limit = (seconds: string): Reply => ({ status: 429, headers: { 'Retry-After': seconds } });
  const [first, second] = [await serve(limit('9')), await serve(limit('3'))];
  const { failure } = await think({}, { secrets: settings(first, second) });
  expect(failure).toMatchObject({ outcome: 'rate_limited', retry_after_seconds: 3 });
});

test('no part of a key or of what a provider says about it is repeated', async () => {
  const said = { error: { message: `Incorrect API key provided: ${key.slice(0, 12)}` } };
  for (const status of [401, 403, 400, 500]) {
    const server = await serve({
      status,
      body: status === 400 ? { error: { message: `bad ${key}` } } : said,
    });
    const { outcome, meta } = await think({}, { secrets: settings(server) });
    expect(JSON.stringify([outcome, meta])).not.toContain(key.slice(0, 10));
  }
});

describe('memory', () => {
  test('an endless answer is left after the bound', async () => {
    const server = await serve({ misbehave: 'endless' });
    await think({}, { secrets: settings(server) });
    expect(server.sent()).toBeGreaterThan(2_000_000);
    expect(server.sent()).toBeLessThan(30_000_000);
  });

  test('a small answer that unpacks to 64 MB is left after the bound', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, 'a'));
    const server = await serve({ raw: bomb, headers: { 'Content-Encoding': 'gzip' } });
    const before = process.memoryUsage().arrayBuffers;
    const { failure } = await think({}, { secrets: settings(server) });
    expect(failure).toMatchObject({ error_class: 'ModelSize' });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(24 * 1024 * 1024);
  });

  test('a long answer within the bound is cut and says so', async () => {
    const server = await serve({ text: 'b'.repeat(900_000) });
    const { result } = await think({}, { secrets: settings(server) });
    expect(result).toMatchObject({ truncated: true });
    expect(String(result?.text)).toMatch(/b\n\[cut: 400000 more characters\]$/);
  });
});

describe('ended from outside', () => {
  test.each([
    ['cancelled', { kind: 'fail', failure: { outcome: 'cancelled' } }],
    ['shutdown', { kind: 'release' }],
    ['lost', { kind: 'none' }],
  ] as const)('%s, it ends at once, asks nobody else and blames no provider', async (ending, outcome) => {
    const [hanging, next] = [await serve({ misbehave: 'hang' }), await serve(good)];
    const health = new Health();
    const run = start({}, { health, secrets: settings(next, hanging) });
    await until(() => hanging.told.length, { what: 'the provider is asked' });
    run.end(ending);
    expect(await run.outcome).toMatchObject(outcome);
    expect(next.told).toEqual([]);
    expect(health.report()).toMatchObject([{ provider: 'openai', calls: 0, failures: 0 }]);
  });

  test('by its timeout, the provider that hung is blamed, and nobody else is asked or blamed', async () => {
    const [hanging, next] = [await serve({ misbehave: 'hang' }), await serve(good)];
    const health = new Health();
    const run = start({}, { health, secrets: settings(next, hanging) });
    await until(() => hanging.told.length, { what: 'the provider is asked' });
    run.end('timed_out');
    expect(await run.outcome).toMatchObject({ kind: 'fail', failure: { outcome: 'timed_out' } });
    expect(health.report()).toMatchObject([{ provider: 'openai', failures: 1, last_error: 'timeout' }]);
    expect(health.report()).toHaveLength(1);
    expect(next.told).toEqual([]);
  });
});

describe('the breaker', () => {
  afterEach(() => void vi.useRealTimers());
  /** cockatiel looks at the wall clock, our holds at a monotonic one: both are moved. */
  function clockwork() {
    vi.useFakeTimers({ toFake: ['Date'] });
    let now = 0;
    const advance = (ms: number) => {
      now += ms;
      vi.setSystemTime(Date.now() + ms);
    };
    return { health: new Health({ now: () => now }), advance };
  }

  test('opens after five failures in a row, lets one probe through after half a minute, closes when it works', async () => {
    const { health, advance } = clockwork();
    let ill = true;
    const server = await serve(() => (ill ? { status: 500 } : good));
    const attempt = () => think({}, { health, secrets: settings(server) });
    for (let n = 0; n < 5; n++) expect((await attempt()).failure?.error_class).toBe('ModelServer');
    expect(health.report()).toMatchObject([{ state: 'open', failures: 5, asked_again_in_ms: 30_000 }]);
    advance(10_000);
    expect((await attempt()).failure).toMatchObject({
      outcome: 'rate_limited',
      error_class: 'ModelOpen',
      retry_after_seconds: 20,
    });
    expect(server.told).toHaveLength(5);
    advance(20_000);
    expect((await attempt()).failure?.error_class).toBe('ModelServer');
    expect(health.report()).toMatchObject([{ state: 'open', asked_again_in_ms: 30_000 }]);
    advance(30_000);
    ill = false;
    expect((await attempt()).result).toMatchObject({ text: 'fine' });
    expect(health.report()).toMatchObject([{ state: 'closed', failures: 0, calls: 7, failed_calls: 6 }]);
  });

  test('lets nobody wait for the probe of another', async () => {
    const { health, advance } = clockwork();
    let count = 0;
    const server = await serve(() => (count++ < 5 ? { status: 500 } : { misbehave: 'hang' }));
    const secrets = settings(server);
    for (let n = 0; n < 5; n++) await think({}, { health, secrets });
    advance(30_000);
    const probe = start({}, { health, secrets });
    await until(() => server.told.length === 6, { what: 'the probe is under way' });
    expect(health.report()).toMatchObject([{ state: 'half_open' }]);
    expect((await think({}, { health, secrets })).failure).toMatchObject({ error_class: 'ModelOpen' });
    probe.end('cancelled');
    await probe.outcome;
    expect(health.report(), 'a probe that was taken back proves nothing').toMatchObject([{ state: 'open' }]);
  });

  test('passes a provider over, so that the next one is asked at once', async () => {
    const { health } = clockwork();
    const [ill, well] = [await serve({ status: 500 }), await serve(good)];
    const secrets = settings(well, ill);
    for (let n = 0; n < 8; n++) expect((await think({}, { health, secrets })).result).toBeDefined();
    expect([ill.told.length, well.told.length]).toEqual([5, 8]);
  });

  test('of a refused key rests for five minutes, and a reset ends that', async () => {
    const { health, advance } = clockwork();
    const server = await serve([{ status: 401 }, good]);
    const attempt = () => think({}, { health, secrets: settings(server) });
    await attempt();
    expect(health.report()).toMatchObject([{ state: 'refused', last_error: 'key 401' }]);
    advance(299_000);
    expect((await attempt()).failure).toMatchObject({ outcome: 'permanent', error_class: 'ModelKey' });
    expect(server.told).toHaveLength(1);
    health.reset('custom', 3);
    expect((await attempt()).result).toMatchObject({ text: 'fine' });
    expect(health.report()).toMatchObject([{ state: 'closed', reset_done: 3 }]);
  });

  test('keeps a limit until its end, at most an hour, and is not opened by it', async () => {
    const { health, advance } = clockwork();
    const server = await serve([{ status: 429, headers: { 'Retry-After': '999999999' } }, good]);
    const attempt = () => think({}, { health, secrets: settings(server) });
    await attempt();
    expect(health.report()).toMatchObject([{ state: 'limited', asked_again_in_ms: 3_600_000 }]);
    expect((await attempt()).failure).toMatchObject({ outcome: 'rate_limited', retry_after_seconds: 3_600 });
    advance(3_600_000);
    expect((await attempt()).result).toMatchObject({ text: 'fine' });
  });

  test('does not open for what the caller did wrong', async () => {
    const { health } = clockwork();
    const server = await serve({ status: 400 });
    for (let n = 0; n < 8; n++) await think({}, { health, secrets: settings(server) });
    expect(health.report()).toMatchObject([{ state: 'closed' }]);
    expect(server.told).toHaveLength(8);
  });
});
