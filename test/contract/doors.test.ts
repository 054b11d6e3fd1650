/** Every route against every kind of credential, over a real database: what opens it, and that nothing else does. */
import { beforeAll, describe, expect, it } from 'vitest';
import { hashOf } from '../../supabase/client/keys.js';
import { mintLoginToken } from '../../vercel/app/login.js';
import { apiKey, bearer, bodyOf, cronSecret, previousKey, secrets, someId } from '../unit/http-app.js';
import { type Instance, linkToken, signedIn, useDoors } from './door-kit.js';

const doors = useDoors();

/** Who opens what. The names are those of the credentials below. */
const environment = ['OPS_API_KEY', 'OPS_API_KEY_PREVIOUS'];
const access = {
  scheduler: ['CRON_SECRET'],
  heartbeat: [...environment, 'CRON_SECRET', 'operator', 'worker'],
  ingest: [...environment, 'operator', 'ingest'],
  viewer: [...environment, 'operator', 'viewer', "dashboard's session", "viewer's session"],
  operator: [...environment, 'operator'],
  operatorOrPage: [...environment, 'operator', "dashboard's session"],
  keyHolder: [...environment, 'operator', 'viewer'],
};

const routes: [method: string, path: string, who: keyof typeof access][] = [
  ['GET', '/api/ops/heartbeat', 'scheduler'],
  ['POST', '/api/ops/heartbeat', 'heartbeat'],
  ['POST', '/api/ops/events', 'ingest'],
  ['GET', '/api/ops/proposals', 'viewer'],
  ['POST', '/api/ops/proposals', 'operator'],
  ['POST', '/api/ops/proposals/:id/approve', 'operatorOrPage'],
  ['POST', '/api/ops/proposals/:id/reject', 'operatorOrPage'],
  ['POST', '/api/ops/proposals/:id/vote', 'operatorOrPage'],
  ['POST', '/api/ops/proposals/:id/revise', 'operatorOrPage'],
  ['GET', '/api/ops/missions', 'viewer'],
  ['GET', '/api/ops/missions/:id', 'viewer'],
  ['POST', '/api/ops/missions/:id/cancel', 'operator'],
  ['POST', '/api/ops/missions/:id/retry', 'operator'],
  ['GET', '/api/ops/steps/:id', 'viewer'],
  ['POST', '/api/ops/steps/:id/retry', 'operator'],
  ['POST', '/api/ops/steps/:id/cancel', 'operator'],
  ['GET', '/api/ops/dead-letters', 'viewer'],
  ['POST', '/api/ops/dead-letters/requeue-all', 'operator'],
  ['POST', '/api/ops/dead-letters/:id/requeue', 'operator'],
  ['POST', '/api/ops/dead-letters/:id/discard', 'operator'],
  ['GET', '/api/ops/policies', 'viewer'],
  ['POST', '/api/ops/policies/simulate', 'viewer'],
  ['GET', '/api/ops/policies/:key', 'viewer'],
  ['PUT', '/api/ops/policies/:key', 'operator'],
  ['GET', '/api/ops/policies/:key/history', 'viewer'],
  ['POST', '/api/ops/policies/:key/validate', 'viewer'],
  ['POST', '/api/ops/policies/:key/rollback', 'operator'],
  ['GET', '/api/ops/radar', 'viewer'],
  ['POST', '/api/ops/radar', 'operator'],
  ['GET', '/api/ops/radar/top', 'viewer'],
  ['GET', '/api/ops/radar/:id', 'viewer'],
  ['POST', '/api/ops/radar/:id/move', 'operator'],
  ['GET', '/api/ops/llm/health', 'viewer'],
  ['POST', '/api/ops/llm/reset', 'operator'],
  ['POST', '/api/ops/llm/check', 'operator'],
  ['GET', '/api/ops/status', 'viewer'],
  ['GET', '/api/ops/alerts', 'viewer'],
  ['GET', '/api/ops/metrics', 'viewer'],
  ['GET', '/api/ops/why/:id', 'viewer'],
  ['GET', '/api/ops/trace/:id', 'viewer'],
  ['GET', '/api/ops/overview', 'viewer'],
  ['GET', '/api/ops/stream', 'viewer'],
  ['POST', '/api/ops/session/link', 'keyHolder'],
];

/** Open to anyone: what they let in they check themselves, or they say nothing that is not public. */
const open = [
  'POST /api/ops/webhooks/:source',
  'GET /api/ops/links/:token',
  'POST /api/ops/links/:token',
  'GET /api/ops/openapi.json',
  'POST /api/ops/session',
  'DELETE /api/ops/session',
  ...[
    '/api/ops/health',
    '/api/health',
    '/health',
    '/api/ops/ready',
    '/health/ready',
    '/',
    '/dashboard/:file',
  ].map((path) => `GET ${path}`),
];

type Headers = Record<string, string>;
const right: Record<string, Headers> = {};
const wrong: Record<string, Headers> = {};
let here: Instance;
/** Where the day of OPS_API_KEY_PREVIOUS is over. */
let dayLater: Instance;

beforeAll(async () => {
  here = doors.instance();
  for (const scope of ['operator', 'viewer', 'ingest', 'worker'] as const)
    right[scope] = bearer(await doors.key(`the-${scope}`, scope));
  right.OPS_API_KEY = bearer(apiKey);
  right.OPS_API_KEY_PREVIOUS = bearer(previousKey);
  right.CRON_SECRET = bearer(cronSecret);
  right["dashboard's session"] = await signedIn(here.app, mintLoginToken(apiKey, new Date()));
  const viewer = await doors.key('a-reader', 'viewer');
  right["viewer's session"] = await signedIn(here.app, await linkToken(here.app, viewer));
  await makeWrong();
});

async function makeWrong(): Promise<void> {
  const key = await doors.key('complete', 'operator');
  const dead = {
    expired: await doors.key('expired', 'operator'),
    revoked: await doors.key('revoked', 'operator'),
  };
  const rotated = await doors.key('rotated', 'operator');
  await doors.db.sql(
    "update ops_api_keys set expires_at = ops_clock() where label in ('expired', 'rotated')",
  );
  await doors.db.sql("update ops_api_keys set replaced_at = ops_clock() where label = 'rotated'");
  await doors.port.revokeKey({ key: 'revoked' });
  const tokens = {
    undefined: 'undefined',
    null: 'null',
    'made up': 'x'.repeat(40),
    'a prefix of OPS_API_KEY': apiKey.slice(0, -1),
    'OPS_API_KEY and more': `${apiKey}A`,
    'the prefix of a key': key.slice(0, key.lastIndexOf('_')),
    'a key but its last digit': key.slice(0, -1),
    'a key with another last digit': `${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`,
    'the hash of a key': hashOf(key),
    'a key that expired': dead.expired,
    'a key that was revoked': dead.revoked,
    'a key that was rotated out': rotated,
  };
  for (const [name, token] of Object.entries(tokens)) wrong[name] = bearer(token);
  wrong.missing = {};
  wrong.empty = { Authorization: '' };
  wrong['an empty token'] = { Authorization: 'Bearer ' };
  wrong['a key twice'] = { Authorization: `Bearer ${apiKey}, Bearer ${apiKey}` };
  const madeUp = `ops_session=session%3A${'a'.repeat(43)}.${'b'.repeat(43)}=`;
  wrong['a made-up cookie'] = { cookie: madeUp, 'Sec-Fetch-Site': 'same-origin' };
}

const ask = async ({ app }: Instance, method: string, path: string, headers: Headers) => {
  const body = ['POST', 'PUT'].includes(method) ? { body: '{}' } : {};
  const sent = { 'Content-Type': 'application/json', ...headers };
  const asked = path.replace(':id', someId).replace(':key', 'auto_approve');
  const response = await app.request(asked, { method, headers: sent, ...body });
  // The stream, and the metrics.
  if (response.headers.get('content-type')?.startsWith('text/')) {
    await response.body?.cancel();
    return { status: response.status, code: undefined };
  }
  return { status: response.status, code: (await bodyOf(response)).code as string | undefined };
};
const isRefusal = ({ code }: { code: string | undefined }) => code === 'OPS_014' || code === 'OPS_016';

describe.each(routes)('%s %s (%s)', (method, path, who) => {
  it('opens to whom it is for, and to no other key', async () => {
    for (const [name, headers] of Object.entries(right)) {
      const answer = await ask(here, method, path, headers);
      expect([name, !isRefusal(answer)]).toEqual([name, access[who].includes(name)]);
      if (isRefusal(answer)) expect([name, [401, 403].includes(answer.status)]).toEqual([name, true]);
    }
  });

  it('opens to nothing that is missing, wrong, or over', async () => {
    for (const [name, headers] of Object.entries(wrong)) {
      const { status, code } = await ask(here, method, path, headers);
      expect([name, code, [400, 401].includes(status)]).toEqual([name, 'OPS_014', true]);
    }
  });

  it('opens to no key of the environment where none is set', async () => {
    const bare = doors.instance({});
    for (const headers of [right.OPS_API_KEY, right.CRON_SECRET, wrong.undefined, wrong.null, wrong.missing])
      expect(await ask(bare, method, path, headers ?? {})).toEqual({ status: 500, code: 'OPS_016' });
  });
});

describe('a webhook that signs nothing', () => {
  const path = '/api/ops/webhooks/a-monitor';

  it('opens to keys that may send events, and to no other credential', async () => {
    for (const [name, headers] of Object.entries(right)) {
      const answer = await ask(here, 'POST', path, headers);
      expect([name, answer.status < 300]).toEqual([name, access.ingest.includes(name)]);
      if (answer.status >= 300) expect([name, [401, 403, 404].includes(answer.status)]).toEqual([name, true]);
    }
    for (const [name, headers] of Object.entries(wrong))
      expect([name, (await ask(here, 'POST', path, headers)).status]).toEqual([
        name,
        expect.toSatisfy((status) => [400, 401, 404].includes(status)),
      ]);
  });
});

it('has a row here for every route there is', () => {
  const listed = new Set([...routes.map(([method, path]) => `${method} ${path}`), ...open]);
  const there = here.app.routes.filter(({ method }) => method !== 'ALL');
  expect(there.map(({ method, path }) => `${method} ${path}`).filter((route) => !listed.has(route))).toEqual(
    [],
  );
  expect(listed.size).toBe(there.length);
});

describe('OPS_API_KEY_PREVIOUS', () => {
  const status = async (instance: Instance, key: string, path = '/api/ops/status') =>
    (await instance.app.request(path, { headers: bearer(key) })).status;

  it('is refused on every route, on every instance, a day after the new key was first seen', async () => {
    await doors.db.sql("update ops_seen_secrets set first_seen_at = first_seen_at - interval '25 hours'");
    dayLater = doors.instance();
    for (const [method, path] of routes) {
      const answer = await ask(dayLater, method, path, bearer(previousKey));
      expect(answer).toEqual({ status: 401, code: 'OPS_014' });
    }
    expect(await status(dayLater, apiKey)).toBe(200);
  });

  it('is refused then by an instance that has run all day', async () => {
    await doors.db.sql("update ops_seen_secrets set first_seen_at = ops_clock() - interval '23.5 hours'");
    const running = doors.instance();
    expect(await status(running, previousKey)).toBe(200);
    running.later(29 * 60_000);
    expect(await status(running, previousKey)).toBe(200);
    running.later(2 * 60_000);
    expect([await status(running, previousKey), await status(running, apiKey)]).toEqual([401, 200]);
  });

  it('signs no link and no cookie any more', async () => {
    await doors.db.sql('update ops_seen_secrets set first_seen_at = ops_clock()');
    const old = doors.instance({ ...secrets, OPS_API_KEY: previousKey, OPS_API_KEY_PREVIOUS: '' });
    const cookie = await signedIn(old.app, mintLoginToken(previousKey, new Date()));
    const read = async ({ app }: Instance) =>
      (await app.request('/api/ops/overview', { headers: cookie })).status;
    expect([await read(old), await read(doors.instance())]).toEqual([200, 200]);
    await doors.db.sql("update ops_seen_secrets set first_seen_at = ops_clock() - interval '25 hours'");
    expect(await read(doors.instance())).toBe(401);
    const link = await signedIn(doors.instance().app, mintLoginToken(previousKey, new Date()));
    expect(link.cookie).toBe('');
  });
});
