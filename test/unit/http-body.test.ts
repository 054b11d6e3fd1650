import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { measure, parseJson } from '../../vercel/app/body.js';
import { apiKey, bearer, bodyOf, delivery, json, secrets, sign, someId, testApp } from './http-app.js';

const events = '/api/ops/events';
const key = bearer(apiKey);
const send = (body: unknown, headers: Record<string, string> = {}, variables?: Record<string, string>) =>
  testApp({}, variables).app.request(events, json(body, { ...key, ...headers }));

/** Sends pieces without a Content-Length, and counts how many were taken. */
function streamed(piece: Uint8Array, pieces: number) {
  let taken = 0;
  const body = new ReadableStream({
    pull(controller) {
      if (taken === pieces) return controller.close();
      taken++;
      controller.enqueue(piece);
    },
  });
  const init = {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...key },
    body,
    duplex: 'half',
  };
  return { request: new Request(`http://localhost${events}`, init as RequestInit), taken: () => taken };
}

describe('the size of a body', () => {
  const largest = (bytes: number) => `{"type":"a","data":{"x":"${'x'.repeat(bytes - 28)}"}}`;

  it('is taken up to 1 MiB and refused one byte later', async () => {
    expect(largest(1_048_576).length).toBe(1_048_576);
    expect((await send(largest(1_048_576))).status).toBe(201);
    const response = await send(largest(1_048_577));
    expect(response.status).toBe(413);
    expect(response.headers.get('connection')).toBe('close');
    expect(await bodyOf(response)).toMatchObject({ code: 'OPS_017' });
  });

  it('is believed from the stream, not from Content-Length', async () => {
    expect((await send(largest(1_048_577), { 'Content-Length': '10' })).status).toBe(413);
  });

  it('stops the reading once it is over', async () => {
    const { request, taken } = streamed(new Uint8Array(65_536), 1_000);
    expect((await testApp().app.request(request)).status).toBe(413);
    expect(taken()).toBeLessThan(30);
  });

  it('follows OPS_MAX_BODY_BYTES', async () => {
    expect((await send(largest(2_000), {}, { ...secrets, OPS_MAX_BODY_BYTES: '1999' })).status).toBe(413);
  });

  it('may be GitHub-sized for GitHub', async () => {
    const body = JSON.stringify({ action: 'opened', text: 'x'.repeat(2_000_000) });
    expect((await testApp().app.request('/api/ops/webhooks/github', delivery(body))).status).toBe(202);
  });
});

describe('the type of a body', () => {
  const types: [string, number][] = [
    ['application/json', 201],
    ['application/json; charset=utf-8', 201],
    ['application/vnd.shop+json', 201],
    ['application/json; charset=latin1', 415],
    ['text/plain', 415],
    ['application/x-www-form-urlencoded', 415],
    ['multipart/form-data; boundary=x', 415],
    ['', 415],
  ];
  it.each(types)('%j answers %i', async (type, status) => {
    expect((await send({ type: 'a:b' }, { 'Content-Type': type })).status).toBe(status);
  });

  it('is refused when it is compressed', async () => {
    const body = gzipSync(Buffer.alloc(10_000_000, 32));
    const headers = { ...key, 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' };
    expect((await testApp().app.request(events, { method: 'POST', headers, body })).status).toBe(415);
  });
});

describe('a poisonous body', () => {
  const refused: [string, string | Uint8Array][] = [
    ['empty', ''],
    ['not JSON', '{"type":'],
    ['not UTF-8', new Uint8Array([0x22, 0xff, 0x22])],
    ['with a byte order mark', '\ufeff{"type":"a"}'],
    ['nested 10,000 deep', `{"type":"a","data":${'['.repeat(10_000)}${']'.repeat(10_000)}}`],
    ['never closed', '['.repeat(1_000_000)],
    ['of 200,000 keys', `{${'"":1,'.repeat(200_000)}"":1}`],
    ['of another shape', '42'],
    ['an empty list', '[]'],
    ['with an unknown member', '{"type":"a","colour":"red"}'],
    ['with a type of spaces', '{"type":"a b"}'],
    ['that claims to be the loop', '{"type":"a","trust":"loop"}'],
    ['with a number beyond numbers', '{"type":"a","data":{"n":1e999}}'],
  ];
  it.each(refused)('%s is a 400 and reaches no port', async (_, body) => {
    const { app, calls } = testApp();
    const init = {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...key },
      body: body,
    };
    const response = await app.request(events, init);
    expect(response.status).toBe(400);
    expect(await bodyOf(response)).toMatchObject({ code: 'OPS_011' });
    expect(calls).toEqual([]);
  });

  it('says by pointer what is wrong, in the shape that was sent', async () => {
    const pointers = async (body: unknown) =>
      (await bodyOf(await send(body))).errors.map((e: { pointer: string }) => e.pointer);
    expect(await pointers({ type: 'a b' })).toEqual(['/type']);
    expect(await pointers([{ type: 'a' }, { type: 'a b' }])).toEqual(['/1/type']);
    expect(await pointers({ events: [{ type: 'a b' }] })).toEqual(['/events/0/type']);
  });
});

describe('what jsonb refuses', () => {
  const parse = (text: string) => parseJson(Buffer.from(text), 100);

  it('becomes U+FFFD, in values and in keys', () => {
    expect(parse('{"a\\u0000":["\\u0000","x\\ud800y","\\uDC00"]}')).toEqual({
      'a\ufffd': ['\ufffd', 'x\ufffdy', '\ufffd'],
    });
  });

  it('leaves whole pairs and escaped backslashes as they are', () => {
    expect(parse('{"a":"\\ud83d\\ude00 \\\\u0000"}')).toEqual({ a: '\u{1f600} \\u0000' });
  });

  it('is not a key that is called like a prototype', () => {
    for (const text of ['{"__proto__":{"x":1}}', '{"__proto__":{"x":"\\u0000"}}']) {
      const value = parse(text) as Record<string, unknown>;
      expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
      expect(Object.keys(value)).toEqual(['__proto__']);
      expect(value.x).toBeUndefined();
    }
  });

  it('is stored, through the endpoint', async () => {
    const { app, calls } = testApp();
    const body = '{"type":"a","data":{"text":"\\u0000","__proto__":{"admin":true}}}';
    expect((await app.request(events, json(body, key))).status).toBe(201);
    expect(calls[0]).toMatchObject(['emitEvents', { events: [{ type: 'a', data: { text: '\ufffd' } }] }]);
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
  });
});

it('measures depth and keys outside of strings only', () => {
  expect(measure('{"a:{[":[{"b\\"":":"}]}')).toEqual({ depth: 3, keys: 2 });
});

describe('events', () => {
  const receipt = (position: number, created: boolean) => ({
    position,
    id: someId,
    created,
    duplicate_of: created ? null : 'dedupe_key',
  });

  it('answer one receipt for one event', async () => {
    const response = await send({ type: 'a:b', data: { x: 1 } });
    expect(response.status).toBe(201);
    expect(await bodyOf(response)).toEqual({ id: someId, created: true, duplicate_of: null });
  });

  it.each([
    ['a list', [{ type: 'a' }, { type: 'b' }]],
    ['an envelope', { events: [{ type: 'a' }, { type: 'b' }] }],
  ])('answer %s with receipts in its order, and 201 when one is new', async (_, body) => {
    const { app } = testApp({ emitEvents: () => [receipt(1, false), receipt(0, true)] });
    const response = await app.request(events, json(body, key));
    expect(response.status).toBe(201);
    expect(await bodyOf(response)).toEqual({
      created: 1,
      duplicates: 1,
      events: [
        { id: someId, created: true, duplicate_of: null },
        { id: someId, created: false, duplicate_of: 'dedupe_key' },
      ],
    });
  });

  it('answer 200 when all were known', async () => {
    const { app } = testApp({ emitEvents: () => [receipt(0, false)] });
    expect((await app.request(events, json({ type: 'a' }, key))).status).toBe(200);
  });
});

describe('a GitHub delivery', () => {
  const body = JSON.stringify({ action: 'opened', issue: { number: 1 } });
  const post = (init: RequestInit, variables?: Record<string, string>) =>
    testApp({}, variables).app.request('/api/ops/webhooks/github', init);

  it('becomes one event with both keys against a second one', async () => {
    const { app, calls } = testApp();
    const response = await app.request('/api/ops/webhooks/github', delivery(body));
    expect(response.status).toBe(202);
    expect(await bodyOf(response)).toEqual({ id: someId, created: true, duplicate_of: null });
    expect(calls).toEqual([
      [
        'emitEvents',
        {
          events: [
            {
              type: 'github:issues:opened',
              source: 'github',
              data: { action: 'opened', issue: { number: 1 } },
              dedupe_key: 'github:72d3162e-cc78-11e3-81ab-4c9367dc0958',
              body_digest: expect.stringMatching(/^github:issues:[0-9a-f]{64}$/),
              trust: 'verified',
            },
          ],
        },
      ],
    ]);
  });

  it('holds with the published vector', async () => {
    const signature = 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17';
    expect(sign('Hello, World!')).toBe(signature);
    // The signature opens the door; the text behind it is not JSON, which is another answer than 401.
    expect((await post(delivery('Hello, World!', { 'X-Hub-Signature-256': signature }))).status).toBe(400);
  });

  const forged: [string, Record<string, string>][] = [
    ['a changed byte', { 'X-Hub-Signature-256': sign(`${body} `) }],
    ['another secret', { 'X-Hub-Signature-256': sign(body, 'another secret, long enough') }],
    ['sha1=', { 'X-Hub-Signature-256': sign(body).replace('sha256=', 'sha1=') }],
    ['no prefix', { 'X-Hub-Signature-256': sign(body).slice(7) }],
    ['uppercase hex', { 'X-Hub-Signature-256': `sha256=${sign(body).slice(7).toUpperCase()}` }],
    ['an empty signature', { 'X-Hub-Signature-256': '' }],
    ['a re-serialised body', { 'X-Hub-Signature-256': sign(JSON.stringify(JSON.parse(body), null, 1)) }],
  ];
  it.each(forged)('with %s is refused', async (_, headers) => {
    const { app, calls } = testApp();
    expect((await app.request('/api/ops/webhooks/github', delivery(body, headers))).status).toBe(401);
    expect(calls).toEqual([]);
  });

  it('without a signature is refused', async () => {
    expect((await post(json(body, { 'X-GitHub-Event': 'issues', 'X-GitHub-Delivery': 'x' }))).status).toBe(
      401,
    );
  });

  it('is refused while no secret is set, whatever it is signed with', async () => {
    for (const secret of ['undefined', ' ']) {
      const response = await post(delivery(body, { 'X-Hub-Signature-256': sign(body, secret) }), {
        OPS_API_KEY: apiKey,
      });
      expect(response.status).toBe(403);
      expect(await bodyOf(response)).toMatchObject({
        code: 'OPS_014',
        hint: expect.stringContaining('GITHUB_WEBHOOK_SECRET'),
      });
    }
  });

  it('may be signed with the previous secret', async () => {
    const previous = 'the secret of last quarter';
    const init = delivery(body, { 'X-Hub-Signature-256': sign(body, previous) });
    expect((await post(init, { ...secrets, GITHUB_WEBHOOK_SECRET_PREVIOUS: previous })).status).toBe(202);
    expect((await post(init)).status).toBe(401);
  });

  it('needs its event and its id, each one word', async () => {
    expect((await post(delivery(body, { 'X-GitHub-Event': '' }))).status).toBe(400);
    expect((await post(delivery(body, { 'X-GitHub-Delivery': 'a b' }))).status).toBe(400);
  });

  it.each([
    [{ action: 'x y' }, 'github:issues'],
    [{ action: 7 }, 'github:issues'],
    [{}, 'github:issues'],
  ])('with %j is %s', async (payload, type) => {
    const { app, calls } = testApp();
    await app.request('/api/ops/webhooks/github', delivery(JSON.stringify(payload)));
    expect(calls[0]).toMatchObject(['emitEvents', { events: [{ type }] }]);
  });

  it('from an unknown source is 404', async () => {
    expect((await testApp().app.request('/api/ops/webhooks/nobody', delivery(body))).status).toBe(404);
    expect((await testApp().app.request('/api/ops/webhooks/__proto__', delivery(body))).status).toBe(404);
  });
});
