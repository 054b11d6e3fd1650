/** Webhooks over the real engine: what a sender was told is what is in the database, whoever sends it how often. */
import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../supabase/client/pg.js';
import { type App, createApp } from '../../vercel/app/app.js';
import { parseControlEnv } from '../../vercel/app/env.js';
import { useDatabase } from '../support/database.js';
import { bearer, bodyOf, delivery, json, secrets } from '../unit/http-app.js';

const database = useDatabase();
const token = 'a-token-of-enough-letters';
const shopSecret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const variables = {
  ...secrets,
  STRIPE_WEBHOOK_SECRET: 'whsec_test_secret',
  OPS_WEBHOOK_ALERTMANAGER_SECRET: token,
  OPS_WEBHOOK_SHOP_SECRET: shopSecret,
  OPS_WEBHOOK_MONITOR_SECRET: token,
};
const silent = { info: () => {}, warn: () => {}, error: () => {} };
const appOn = (url: string): { app: App; opened: Database } => {
  const opened = openDatabase({ connectionString: url, max: 8 });
  const env = parseControlEnv(variables);
  return { app: createApp({ port: opened.port, env, log: silent, now: () => new Date() }), opened };
};
let app: App;
let opened: Database;
beforeAll(() => {
  ({ app, opened } = appOn(database.url));
});
beforeEach(() => database.sql('delete from ops_agent_events'));
afterAll(() => opened.close());

const seconds = () => String(Math.floor(Date.now() / 1_000));
const hmac = (secret: string | Buffer, text: string) => createHmac('sha256', secret).update(text);

/** A genuine delivery of each scheme, made anew each time as its sender would. */
const genuine: Record<string, (body: string, id?: string) => RequestInit> = {
  github: (body, id = 'g-1') => delivery(body, { 'X-GitHub-Delivery': id }),
  stripe: (body) => {
    const t = seconds();
    const signature = `t=${t},v1=${hmac(variables.STRIPE_WEBHOOK_SECRET, `${t}.${body}`).digest('hex')}`;
    return json(body, { 'Stripe-Signature': signature });
  },
  shop: (body, id = 'msg_1') => {
    const t = seconds();
    const signature = hmac(Buffer.from(shopSecret.slice(6), 'base64'), `${id}.${t}.${body}`).digest('base64');
    return json(body, { 'webhook-id': id, 'webhook-timestamp': t, 'webhook-signature': `v1,${signature}` });
  },
  alertmanager: (body) => json(body, bearer(token)),
  monitor: (body, id) =>
    json(body, { ...bearer(token), ...(id === undefined ? {} : { 'Idempotency-Key': id }) }),
};
const send = (source: string, body: unknown, id?: string, to = app) => {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return to.request(`/api/ops/webhooks/${source}`, genuine[source]?.(text, id) ?? {});
};
const alert = (status: string, fingerprint = 'f1') => ({
  status,
  fingerprint,
  startsAt: '2026-11-20T07:55:00Z',
  labels: { alertname: 'DiskFull' },
});
const notify = (...alerts: object[]) => ({ version: '4', groupKey: 'g', receiver: 'ops', alerts });
const bodies: Record<string, object> = {
  github: { action: 'opened', issue: { number: 1 } },
  stripe: { id: 'evt_1', type: 'invoice.paid' },
  shop: { type: 'order.placed' },
  alertmanager: notify(alert('firing')),
  monitor: { type: 'site.down' },
};
const sources = Object.keys(bodies);
const stored = () =>
  database.sql<{ type: string; source: string; trust: string }>(
    'select type, source, trust from ops_agent_events order by created_at',
  );

describe.each(sources)('%s', (source) => {
  it('sending one delivery a hundred times in parallel makes one event', async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, () => send(source, bodies[source])));
    const statuses = answers.map(({ status }) => status);
    expect([statuses.filter((s) => s === 202).length, statuses.filter((s) => s === 200).length]).toEqual([
      1, 99,
    ]);
    expect(await stored()).toHaveLength(1);
  });

  it('is told to come again while the database is away, and then nothing is lost', async () => {
    const away = appOn('postgresql://nobody@127.0.0.1:1/nothing');
    const refused = await send(source, bodies[source], undefined, away.app);
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '5']);
    await away.opened.close();
    expect((await send(source, bodies[source])).status).toBe(202);
  });
});

describe('events of webhooks', () => {
  it('say who sent them and who vouches for them', async () => {
    for (const source of sources) await send(source, bodies[source]);
    expect((await stored()).map(({ type, source, trust }) => [type, source, trust])).toEqual([
      ['github:issues:opened', 'github', 'verified'],
      ['stripe:invoice.paid', 'stripe', 'verified'],
      ['shop:order.placed', 'shop', 'verified'],
      ['alertmanager:firing', 'alertmanager', 'unverified'],
      ['monitor:site.down', 'monitor', 'unverified'],
    ]);
  });

  it('of an alert are one for firing and one for resolved, however often it is repeated', async () => {
    const told = async (...alerts: object[]) =>
      (await bodyOf(await send('alertmanager', notify(...alerts)))).created;
    expect(await told(alert('firing'), alert('firing', 'f2'))).toBe(2);
    expect(await told(alert('firing'), alert('firing', 'f2'), alert('firing', 'f3'))).toBe(1);
    expect(await told(alert('resolved'))).toBe(1);
    expect(await told()).toBe(0);
    expect(await stored()).toHaveLength(4);
  });

  it('with the same body under another id are two where the id is proved, and one where it is not', async () => {
    for (const [source, count] of [
      ['github', 1],
      ['shop', 2],
      ['monitor', 2],
    ] as const) {
      await database.sql('delete from ops_agent_events');
      for (const id of ['first', 'second']) await send(source, bodies[source], id);
      expect([source, (await stored()).length]).toEqual([source, count]);
    }
  });

  it('keep numbers that JavaScript would round', async () => {
    await send('monitor', '{"type":"big","id":9007199254740993,"price":0.12345678901234567890}');
    await app.request(
      '/api/ops/events',
      json('{"events":[{"type":"big:too","data":{"id":9007199254740993}}]}', bearer(secrets.OPS_API_KEY)),
    );
    const ids = await database.sql(
      "select data ->> 'id' as id, data ->> 'price' as price from ops_agent_events order by type",
    );
    expect(ids).toEqual([
      { id: '9007199254740993', price: null },
      { id: '9007199254740993', price: '0.12345678901234567890' },
    ]);
  });
});

describe('a hostile body of a believed sender', () => {
  const hostile: [string, string][] = [
    ['U+0000 and half a pair', '{"type":"x\\u0000","a\\u0000":"\\ud800"}'],
    ['a key like a prototype', '{"__proto__":{"type":"x"},"constructor":{"prototype":1}}'],
    ['a number beyond numbers', '{"n":1e999}'],
    [
      'numbers whose digits fill disks',
      `{"n":[${Array(1_000).fill('1e-16000').join()}],"id":9007199254740993}`,
    ],
    ['a hundred levels', `{"a":${'['.repeat(98)}${']'.repeat(98)}}`],
    ['a hundred thousand keys', `{${Array.from({ length: 99_999 }, (_, n) => `"${n}":1`).join()}}`],
    ['the same key twice', '{"type":"a","type":"b"}'],
    ['text that reads like SQL', `{"type":"'; drop table ops_agent_events; --"}`],
    ['a type of the loop', '{"type":"a:b:c:d:e"}'],
  ];
  it.each(hostile)('of %s is stored or refused with a 4xx', async (_, body) => {
    for (const source of ['github', 'shop', 'monitor']) {
      const { status } = await send(source, body);
      expect([source, status, status < 500]).toEqual([source, status, true]);
    }
  });

  it('cannot speak for the loop', async () => {
    const { app: mission, opened: own } = appOn(database.url);
    const headers = bearer(secrets.OPS_API_KEY);
    for (const source of ['mission', 'step', 'proposal'])
      expect(
        (await mission.request(`/api/ops/webhooks/${source}`, json({ type: 'failed' }, headers))).status,
      ).toBe(400);
    await own.close();
    expect(await stored()).toEqual([]);
  });
});
