/** Every scheme of webhooks against its published vector, and each mutation of it; over a hand-made port. */
import { createHmac } from 'node:crypto';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { parseControlEnv } from '../../vercel/app/env.js';
import { apiKey, bearer, bodyOf, json, now, someId, testApp } from './http-app.js';

const shop = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const plain = 'a token of enough letters'.replaceAll(' ', '-');
const variables = {
  OPS_API_KEY: apiKey,
  STRIPE_WEBHOOK_SECRET: 'whsec_test_secret',
  OPS_WEBHOOK_SHOP_SECRET: shop,
  OPS_WEBHOOK_ALERTMANAGER_SECRET: plain,
  OPS_WEBHOOK_MY_MONITOR_SECRET: plain,
};
const send = (source: string, init: RequestInit, set: Record<string, string> = variables, at = now) => {
  const { app, calls, doorCalls } = testApp({}, set, () => at);
  return { answer: app.request(`/api/ops/webhooks/${source}`, init), calls, doorCalls };
};
const statusOf = async (...args: Parameters<typeof send>) => (await send(...args).answer).status;
const eventsOf = (calls: [string, unknown][]) =>
  calls.flatMap(([, args]) => (args as { events: Record<string, unknown>[] }).events);

describe('Stripe', () => {
  const body = '{"id":"evt_test"}';
  const at = new Date(1_700_000_000_000);
  const vector = 't=1700000000,v1=13941114bb88ac44a76abcfddea5b92aa6182a4b63d8be3aae908a616083bd7e';
  const mac = (text: string, secret = variables.STRIPE_WEBHOOK_SECRET) =>
    createHmac('sha256', secret).update(`1700000000.${text}`).digest('hex');
  const stripe = (text: string, signature: string, when = at, set: Record<string, string> = variables) =>
    send('stripe', json(text, { 'Stripe-Signature': signature }), set, when);
  const answered = async (...args: Parameters<typeof stripe>) => (await stripe(...args).answer).status;

  it('holds with its vector, so that only the missing type stops it', async () => {
    const { answer, calls } = stripe(body, vector);
    const response = await answer;
    expect(response.status).toBe(400);
    expect((await bodyOf(response)).detail).toContain('no event of Stripe');
    expect(calls).toEqual([]);
  });

  it('becomes one event under its own id', async () => {
    const paid = JSON.stringify({ id: 'evt_1', type: 'invoice.paid', data: { object: { total: 5 } } });
    const { answer, calls } = stripe(paid, `t=1700000000,v1=${mac(paid)}`);
    expect((await answer).status).toBe(202);
    expect(eventsOf(calls)).toEqual([
      {
        type: 'stripe:invoice.paid',
        source: 'stripe',
        data: JSON.parse(paid),
        dedupe_key: 'stripe:evt_1',
        trust: 'verified',
      },
    ]);
  });

  it.each<[string, string, string]>([
    ['another byte in the body', `${body} `, vector],
    ['a byte order mark before it', `\ufeff${body}`, vector],
    ['a re-serialised body', '{ "id": "evt_test" }', vector],
    ['another time', body, vector.replace('1700000000', '1700000001')],
    ['letters behind the time', body, vector.replace('1700000000', '1700000000x')],
    ['two times', body, `${vector},t=1700000000`],
    ['no time', body, vector.slice('t=1700000000,'.length)],
    ['another digit', body, vector.replace('1394', '1395')],
    ['a shorter signature', body, vector.slice(0, -2)],
    ['capitals', body, vector.replace('3bd7e', '3BD7E')],
    ['the test scheme alone', body, vector.replace('v1=', 'v0=')],
    ['another secret', body, `t=1700000000,v1=${mac(body, 'whsec_another_secret')}`],
    ['nothing', body, ''],
  ])('with %s is refused', async (_, text, signature) => {
    const { answer, calls } = stripe(text, signature);
    expect((await answer).status).toBe(401);
    expect(calls).toEqual([]);
  });

  it('takes any of several signatures, and one of the previous secret', async () => {
    const rolled = `t=1700000000,v1=${'0'.repeat(64)},v1=${mac(body)},v0=${'1'.repeat(64)}`;
    expect(await answered(body, rolled)).toBe(400);
    const set = {
      STRIPE_WEBHOOK_SECRET: 'whsec_of_today_1',
      STRIPE_WEBHOOK_SECRET_PREVIOUS: 'whsec_test_secret',
    };
    expect(await answered(body, vector, at, set)).toBe(400);
    expect(await answered(body, vector, at, { STRIPE_WEBHOOK_SECRET: 'whsec_of_today_1' })).toBe(401);
    expect(await answered(body, vector, at, { STRIPE_WEBHOOK_SECRET_PREVIOUS: 'whsec_test_secret' })).toBe(
      403,
    );
  });

  it.each([
    [-301, 401],
    [-300, 400],
    [300, 400],
    [301, 401],
  ])('signed %i s away from our time answers %i', async (seconds, status) => {
    expect(await answered(body, vector, new Date(at.getTime() + seconds * 1_000))).toBe(status);
  });
});

describe('Standard Webhooks', () => {
  const body = '{"test": 2432232314}';
  const vector = {
    'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    'webhook-timestamp': '1614265330',
    'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  };
  afterEach(() => void vi.useRealTimers());
  // The library asks this machine's clock.
  const shopSends = (
    headers: Record<string, string>,
    text = body,
    seconds = 0,
    set: Record<string, string> = variables,
  ) => {
    vi.useFakeTimers({ toFake: ['Date'], now: (1_614_265_330 + seconds) * 1_000 });
    return send('shop', json(text, headers), set);
  };
  const answered = async (...args: Parameters<typeof shopSends>) => (await shopSends(...args).answer).status;

  it('holds with its vector and is one event under the id of the message', async () => {
    const { answer, calls } = shopSends(vector);
    expect((await answer).status).toBe(202);
    expect(eventsOf(calls)).toEqual([
      {
        type: 'shop:received',
        source: 'shop',
        data: { test: 2_432_232_314 },
        dedupe_key: `shop:${vector['webhook-id']}`,
        trust: 'verified',
      },
    ]);
  });

  const signed = (
    text: string,
    id = vector['webhook-id'],
    time = vector['webhook-timestamp'],
    secret = shop,
  ) =>
    `v1,${createHmac('sha256', Buffer.from(secret.slice(6), 'base64'))
      .update(`${id}.${time}.${text}`)
      .digest('base64')}`;

  it('names the event by the type of the payload, where that is a word', async () => {
    for (const [type, expected] of [
      ['invoice.paid', 'shop:invoice.paid'],
      ['no word', 'shop:received'],
      [7, 'shop:received'],
    ]) {
      const text = JSON.stringify({ type });
      const { answer, calls } = shopSends({ ...vector, 'webhook-signature': signed(text) }, text);
      expect((await answer).status).toBe(202);
      expect(eventsOf(calls)[0]?.type).toBe(expected);
    }
  });

  it.each<[string, Record<string, string>, string?]>([
    ['another byte in the body', {}, `${body} `],
    ['a byte order mark before it', {}, `\ufeff${body}`],
    ['a re-serialised body', {}, '{"test":2432232314}'],
    ['another id', { 'webhook-id': 'msg_other' }],
    ['an id with a dot', { 'webhook-id': 'msg.x', 'webhook-signature': signed(body, 'msg.x') }],
    ['another time', { 'webhook-timestamp': '1614265331' }],
    ['letters behind the time', { 'webhook-timestamp': '1614265330x' }],
    ['another version', { 'webhook-signature': vector['webhook-signature'].replace('v1', 'v2') }],
    ['an asymmetric signature', { 'webhook-signature': vector['webhook-signature'].replace('v1', 'v1a') }],
    ['another letter', { 'webhook-signature': vector['webhook-signature'].replace('g0h', 'g0i') }],
    ['a version and nothing', { 'webhook-signature': 'v1' }],
    ['no id', { 'webhook-id': '' }],
    ['no time', { 'webhook-timestamp': '' }],
    ['no signature', { 'webhook-signature': '' }],
    [
      'another secret',
      { 'webhook-signature': signed(body, undefined, undefined, `whsec_${'A'.repeat(32)}`) },
    ],
  ])('with %s is refused', async (_, changed, text) => {
    const { answer, calls } = shopSends({ ...vector, ...changed }, text);
    expect((await answer).status).toBe(401);
    expect(calls).toEqual([]);
  });

  it('takes an old and a new signature in one header, and one of the previous secret', async () => {
    const both = `v1,${'A'.repeat(43)}= v1a,${'B'.repeat(43)}= ${vector['webhook-signature']}`;
    expect(await answered({ ...vector, 'webhook-signature': both })).toBe(202);
    const today = `whsec_${'A'.repeat(32)}`;
    const set = { OPS_WEBHOOK_SHOP_SECRET: today, OPS_WEBHOOK_SHOP_SECRET_PREVIOUS: shop };
    expect(await answered(vector, body, 0, set)).toBe(202);
    expect(await answered(vector, body, 0, { OPS_WEBHOOK_SHOP_SECRET: today })).toBe(401);
  });

  it.each([
    [-301, 401],
    [-300, 202],
    [300, 202],
    [301, 401],
  ])('signed %i s away from our time answers %i', async (seconds, status) => {
    expect(await answered(vector, body, -seconds)).toBe(status);
  });
});

describe('Alertmanager', () => {
  const alert = (status: string, fingerprint = 'b5c1a2f0e1d2c3b4') => ({
    status,
    labels: { alertname: 'DiskFull' },
    annotations: {},
    startsAt: '2026-11-20T07:55:00.000Z',
    endsAt: '0001-01-01T00:00:00Z',
    fingerprint,
  });
  const notification = (alerts: object[], more: object = {}) =>
    JSON.stringify({ version: '4', groupKey: '{}:{}', status: 'firing', receiver: 'ops', alerts, ...more });

  it('becomes an event per alert, unverified, and says what it left out', async () => {
    const text = notification([alert('firing'), alert('resolved', 'other')], { truncatedAlerts: 3 });
    const { answer, calls } = send('alertmanager', json(text, bearer(plain)));
    const response = await answer;
    expect([response.status, Object.keys(await bodyOf(response))]).toEqual([
      202,
      ['created', 'duplicates', 'events'],
    ]);
    const events = eventsOf(calls);
    expect(events.map(({ type, trust, dedupe_key }) => [type, trust, dedupe_key])).toEqual([
      ['alertmanager:firing', 'unverified', 'alertmanager:b5c1a2f0e1d2c3b4:2026-11-20T07:55:00.000Z:firing'],
      ['alertmanager:resolved', 'unverified', 'alertmanager:other:2026-11-20T07:55:00.000Z:resolved'],
      [
        'alertmanager:truncated',
        'unverified',
        expect.stringMatching(/^alertmanager:truncated:[0-9a-f]{64}$/),
      ],
    ]);
    expect(events[0]?.data).toMatchObject({ labels: { alertname: 'DiskFull' }, group: { receiver: 'ops' } });
    expect(events[2]?.data).toMatchObject({ truncated: 3 });
  });

  it.each<[string, string]>([
    ['of another version', notification([], { version: '3' })],
    ['without alerts', JSON.stringify({ version: '4' })],
    ['with an alert of another status', notification([alert('silenced')])],
    ['with an alert without fingerprint', notification([{ ...alert('firing'), fingerprint: undefined }])],
  ])('%s is a 400', async (_, text) => {
    expect(await statusOf('alertmanager', json(text, bearer(plain)))).toBe(400);
  });

  it('under another name says so as its source', async () => {
    const set = { OPS_WEBHOOK_LAB_SECRET: plain, OPS_WEBHOOK_LAB_SCHEME: 'alertmanager' };
    const { answer, calls } = send('lab', json(notification([alert('firing')]), bearer(plain)), set);
    expect((await answer).status).toBe(202);
    expect(eventsOf(calls)[0]).toMatchObject({ type: 'alertmanager:firing', source: 'lab' });
  });
});

describe('a sender with a bearer token', () => {
  const monitor = (headers: Record<string, string>, body: unknown = { type: 'site.down' }, at = now) =>
    send('my-monitor', json(body, headers), variables, at);
  const keyOf = async (headers: Record<string, string>, body?: unknown, at?: Date) => {
    const { answer, calls } = monitor({ ...bearer(plain), ...headers }, body, at);
    expect((await answer).status).toBe(202);
    const [{ dedupe_key, body_digest } = {}] = eventsOf(calls);
    return { dedupe_key, body_digest };
  };

  it('makes an unverified event, named by source and type', async () => {
    const { answer, calls } = monitor(bearer(plain));
    expect((await answer).status).toBe(202);
    expect(eventsOf(calls)).toMatchObject([
      {
        type: 'my-monitor:site.down',
        source: 'my-monitor',
        trust: 'unverified',
        data: { type: 'site.down' },
      },
    ]);
  });

  it('is told apart by its delivery id, else by its body within an hour', async () => {
    expect(await keyOf({ 'Idempotency-Key': 'd-1' })).toEqual({ dedupe_key: 'my-monitor:d-1' });
    expect(await keyOf({ 'webhook-id': 'd-2' })).toEqual({ dedupe_key: 'my-monitor:d-2' });
    const first = await keyOf({});
    expect(first.dedupe_key).toBeUndefined();
    const later = (minutes: number) => keyOf({}, undefined, new Date(now.getTime() + minutes * 60_000));
    expect(await later(59)).toEqual(first);
    expect(await later(60)).not.toEqual(first);
    expect(await keyOf({}, { type: 'site.up' })).not.toEqual(first);
    expect(await statusOf('my-monitor', json({}, { ...bearer(plain), 'Idempotency-Key': 'a b' }))).toBe(400);
  });

  it.each<[string, Record<string, string>, number]>([
    ['nothing', {}, 401],
    ['another token', bearer(`${plain}x`), 401],
    ['undefined', bearer('undefined'), 401],
    ['the token without its scheme', { Authorization: plain }, 400],
    ['a token of a cookie', { Cookie: `token=${plain}` }, 401],
  ])('that shows %s is refused before its body is read', async (_, headers, status) => {
    const { answer, calls } = monitor(headers, '{"type":');
    expect((await answer).status).toBe(status);
    expect(calls).toEqual([]);
  });

  it('may use a key that may send events instead, under any name', async () => {
    for (const source of ['my-monitor', 'never-heard-of'])
      expect(await statusOf(source, json({}, bearer(apiKey)))).toBe(202);
    expect(await statusOf('never-heard-of', json({}, bearer(plain)))).toBe(401);
    expect(await statusOf('never-heard-of', json({}))).toBe(404);
  });

  it('may use its previous token', async () => {
    const set = { OPS_WEBHOOK_SHOP_SECRET: `${plain}-new`, OPS_WEBHOOK_SHOP_SECRET_PREVIOUS: plain };
    for (const token of [plain, `${plain}-new`])
      expect(await statusOf('shop', json({}, bearer(token)), set)).toBe(202);
  });
});

describe('a secret that is not set', () => {
  it.each(['github', 'stripe', 'alertmanager', 'lab'])('opens %s to nobody', async (source) => {
    const set = { OPS_WEBHOOK_LAB_SCHEME: 'standard' };
    for (const headers of [{}, { 'Stripe-Signature': 't=1,v1=00' }, { 'X-Hub-Signature-256': 'sha256=00' }]) {
      const { answer, calls } = send(source, json({}, headers), set);
      const response = await answer;
      expect([response.status, (await bodyOf(response)).code]).toEqual([403, 'OPS_014']);
      expect(calls).toEqual([]);
    }
    for (const token of ['undefined', 'null', '', plain])
      expect([400, 401, 403]).toContain(await statusOf(source, json({}, bearer(token)), set));
  });

  it('is not stood in for by the previous one, an empty one, or that of another source', async () => {
    for (const set of [
      { OPS_WEBHOOK_SHOP_SECRET_PREVIOUS: plain },
      { OPS_WEBHOOK_SHOP_SECRET: '', OPS_WEBHOOK_SHOP_SECRET_PREVIOUS: plain },
      { OPS_WEBHOOK_OTHER_SECRET: plain },
    ])
      expect(await statusOf('shop', json({}, bearer(plain)), set)).toBe(401);
  });
});

describe('a wrong proof', () => {
  it('is counted, and answered with 429 when there were too many', async () => {
    const over = () => ({ allowed: false, left: 0, retry_after_seconds: 40 });
    for (const [source, headers] of [
      ['github', { 'X-Hub-Signature-256': 'sha256=00' }],
      ['stripe', {}],
      ['shop', {}],
      ['my-monitor', bearer('x'.repeat(30))],
    ] as const) {
      const set = { ...variables, GITHUB_WEBHOOK_SECRET: plain };
      const { doorCalls, answer } = send(source, json({}, headers), set);
      expect((await answer).status).toBe(401);
      expect(doorCalls.map(([name]) => name)).toContain('takeRate');
      const { app } = testApp({ takeRate: over }, set);
      const late = await app.request(`/api/ops/webhooks/${source}`, json({}, headers));
      expect([late.status, late.headers.get('retry-after')]).toEqual([429, '40']);
    }
  });
});

describe('a hostile body of a believed sender', () => {
  const deep = `{"a":${'['.repeat(10_000)}${']'.repeat(10_000)}}`;
  it.each<[string, string | Uint8Array<ArrayBuffer>, number]>([
    ['nested 10,000 deep', deep, 400],
    ['of 200,000 keys', `{${'"":1,'.repeat(200_000)}"":1}`, 400],
    ['that is not JSON', '{"type":', 400],
    ['that is a list', '[1]', 400],
    ['that is a number', '42', 400],
    ['that is empty', '', 400],
    ['that is not UTF-8', new Uint8Array([0x7b, 0xff, 0x7d]), 400],
    ['of 1 MiB and more', `{"a":"${'x'.repeat(1_048_576)}"}`, 413],
    ['with U+0000 and half a pair', '{"a\\u0000":"\\ud800"}', 202],
    ['with a key like a prototype', '{"__proto__":{"type":"x"},"constructor":1}', 202],
  ])('%s is refused with a 4xx or stored', async (_, body, status) => {
    const init = { method: 'POST', headers: { 'Content-Type': 'application/json', ...bearer(plain) }, body };
    expect(await statusOf('my-monitor', init)).toBe(status);
  });

  it.each(['application/x-www-form-urlencoded', 'text/plain', ''])('of type %j is a 415', async (type) => {
    const init = { method: 'POST', headers: { 'Content-Type': type, ...bearer(plain) }, body: '{}' };
    expect(await statusOf('my-monitor', init)).toBe(415);
  });
});

it.each(['__proto__', 'A', 'a_b', '-a', 'x'.repeat(41), '1a', 'a--b'])(
  'has no source called %s',
  async (source) => {
    expect(await statusOf(source, json({}, bearer(apiKey)))).toBe(404);
  },
);

describe('the variables of webhooks', () => {
  it.each<[string, Record<string, string>, string]>([
    ['a short secret', { OPS_WEBHOOK_SHOP_SECRET: 'canary' }, 'OPS_WEBHOOK_SHOP_SECRET needs at least 16'],
    ['no scheme of ours', { OPS_WEBHOOK_SHOP_SCHEME: 'canary' }, 'OPS_WEBHOOK_SHOP_SCHEME must be one of'],
    ['another ending', { OPS_WEBHOOK_SHOP_TOKEN: 'canary' }, 'OPS_WEBHOOK_SHOP_TOKEN is none'],
    ['a secret too small to sign', { OPS_WEBHOOK_SHOP_SECRET: 'whsec_canarycanary' }, 'must be whsec_'],
    [
      'a plain secret for signing',
      { OPS_WEBHOOK_SHOP_SECRET: `canary-${plain}`, OPS_WEBHOOK_SHOP_SCHEME: 'standard' },
      'must be whsec_',
    ],
  ])('are refused with %s, and not shown', (_, set, message) => {
    expect(() => parseControlEnv(set)).toThrow(message);
    expect(() => parseControlEnv(set)).not.toThrow(/canary(?!.*must)/);
  });

  it('are told the database by fingerprint, so that their age is known', async () => {
    const { doorCalls, answer } = send('my-monitor', json({}, bearer(apiKey)));
    await answer;
    const { app, doorCalls: told } = testApp({}, variables);
    await app.request('/api/ops/status', { headers: bearer(apiKey) });
    const [, sent] = told.find(([name]) => name === 'seeSecrets') ?? [];
    expect(Object.keys((sent as { secrets: object }).secrets)).toContain('OPS_WEBHOOK_SHOP_SECRET');
    expect(JSON.stringify([told, doorCalls])).not.toContain(shop);
  });
});

it('answers one receipt for one event', async () => {
  const { answer } = send('my-monitor', json({}, bearer(plain)));
  expect(await bodyOf(await answer)).toEqual({ id: someId, created: true, duplicate_of: null });
});
