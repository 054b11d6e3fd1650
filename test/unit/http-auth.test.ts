import { describe, expect, it } from 'vitest';
import { OpsError } from '../../supabase/client/errors.js';
import { createApp } from '../../vercel/app/app.js';
import { parseControlEnv } from '../../vercel/app/env.js';
import { sameSecret } from '../../vercel/app/secrets.js';
import { apiKey, bearer, bodyOf, cronSecret, json, previousKey, secrets, testApp } from './http-app.js';

const heartbeat = '/api/ops/heartbeat';
const statusOf = async (
  method: string,
  headers: Record<string, string>,
  variables?: Record<string, string>,
) => (await testApp({}, variables).app.request(heartbeat, { method, headers })).status;

describe('the heartbeat route', () => {
  it('opens to GET with CRON_SECRET and to POST with either key or CRON_SECRET', async () => {
    expect(await statusOf('GET', bearer(cronSecret))).toBe(200);
    expect(await statusOf('POST', bearer(apiKey))).toBe(200);
    expect(await statusOf('POST', bearer(previousKey))).toBe(200);
    expect(await statusOf('POST', bearer(cronSecret))).toBe(200);
  });

  it('refuses GET with an operations key', async () => {
    expect(await statusOf('GET', bearer(apiKey))).toBe(401);
  });

  it('answers HEAD like GET, and any other method with 405 and Allow', async () => {
    expect(await statusOf('HEAD', bearer(cronSecret))).toBe(200);
    const response = await testApp().app.request(heartbeat, { method: 'PUT' });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('GET, HEAD, POST');
  });

  it('answers with and without a trailing slash, never with a redirect', async () => {
    for (const path of [heartbeat, `${heartbeat}/`])
      expect((await testApp().app.request(path, { headers: bearer(cronSecret) })).status).toBe(200);
  });
});

describe('a bearer key', () => {
  const accepted: [string, string][] = [
    ['in the usual form', `Bearer ${apiKey}`],
    ['with the scheme in another case', `bearer ${apiKey}`],
    ['after more than one space', `Bearer   ${apiKey}`],
  ];
  it.each(accepted)('opens %s', async (_, authorization) => {
    expect(await statusOf('POST', { Authorization: authorization })).toBe(200);
  });

  const refused: [string, Record<string, string>, number, string | undefined][] = [
    ['missing', {}, 401, undefined],
    ['empty', { Authorization: '' }, 401, undefined],
    ['without a scheme', { Authorization: apiKey }, 400, 'invalid_request'],
    ['of another scheme', { Authorization: `Basic ${apiKey}` }, 400, 'invalid_request'],
    ['repeated', { Authorization: `Bearer ${apiKey}, Bearer ${apiKey}` }, 400, 'invalid_request'],
    ['with a space inside', { Authorization: `Bearer ${apiKey.slice(1)} k` }, 400, 'invalid_request'],
    ['one character off', bearer(`${apiKey.slice(0, -1)}B`), 401, 'invalid_token'],
    ['too short', bearer(apiKey.slice(1)), 401, 'invalid_token'],
    ['too long', bearer(`${apiKey}A`), 401, 'invalid_token'],
    ['in another case', bearer(apiKey.toLowerCase()), 401, 'invalid_token'],
    ['undefined', bearer('undefined'), 401, 'invalid_token'],
  ];
  it.each(refused)('that is %s is refused', async (_, headers, status, error) => {
    const { app, calls } = testApp();
    const response = await app.request(heartbeat, { method: 'POST', headers });
    expect(response.status).toBe(status);
    const challenge = response.headers.get('www-authenticate') ?? '';
    expect(challenge).toMatch(/^Bearer realm="ops-loop"/);
    expect(/error="(.*)"/.exec(challenge)?.[1]).toBe(error);
    expect(await bodyOf(response)).toMatchObject({ code: 'OPS_014', status });
    expect(calls).toEqual([]);
  });
});

describe('a secret that is not there', () => {
  const keys = ['undefined', 'null', '', ' ', 'k'.repeat(32)];
  it.each(keys)('opens nothing to %j', async (key) => {
    for (const method of ['GET', 'POST']) {
      const { app, calls } = testApp({}, {});
      const response = await app.request(heartbeat, { method, headers: { Authorization: `Bearer ${key}` } });
      expect(response.status).toBe(500);
      expect(await bodyOf(response)).toMatchObject({ code: 'OPS_016' });
      expect(calls).toEqual([]);
    }
  });

  it('counts as unset when it is shorter than its least length, also past the schema', async () => {
    const short = { ...parseControlEnv(secrets), OPS_API_KEY: 'k'.repeat(31), CRON_SECRET: 'c'.repeat(15) };
    const silent = () => {};
    const app = createApp({
      port: testApp().app as never,
      env: short,
      log: { info: silent, warn: silent, error: silent },
      now: () => new Date(),
    });
    for (const key of [short.OPS_API_KEY, short.CRON_SECRET, previousKey])
      expect((await app.request(heartbeat, { method: 'POST', headers: bearer(key) })).status).toBe(500);
  });

  it('leaves a previous key alone powerless', async () => {
    const { OPS_API_KEY: _, CRON_SECRET: __, ...rest } = secrets;
    expect(await statusOf('POST', bearer(previousKey), rest)).toBe(500);
  });
});

describe('the environment', () => {
  it('names every variable that is wrong at once and shows no value', () => {
    const wrong = {
      OPS_API_KEY: 'short-canary',
      CRON_SECRET: 'canary',
      OPS_EVENT_BATCH_SIZE: 'canary',
      OPS_LOG_LEVEL: '9',
    };
    const error = caught(() => parseControlEnv(wrong));
    expect(error).toBeInstanceOf(OpsError);
    expect(error).toMatchObject({ code: 'OPS_016' });
    for (const name of Object.keys(wrong)) expect(error.message).toContain(name);
    expect(JSON.stringify(error)).not.toContain('canary');
  });

  it('reads an empty value as not set, and knows the defaults', () => {
    const env = parseControlEnv({ OPS_API_KEY: '', OPS_EVENT_BATCH_SIZE: '' });
    expect(env).toMatchObject({
      OPS_EVENT_BATCH_SIZE: 500,
      OPS_REACTION_BATCH_SIZE: 50,
      OPS_STALE_STEP_MINUTES: 15,
    });
    expect(env.OPS_API_KEY).toBeUndefined();
  });

  it('refuses a key that no bearer header can carry', () => {
    expect(() => parseControlEnv({ OPS_API_KEY: `${'k'.repeat(32)} k` })).toThrow('OPS_API_KEY');
  });
});

it('compares secrets of any length', () => {
  expect(sameSecret('', 'a'.repeat(40))).toBe(false);
  expect(sameSecret('a'.repeat(40), 'a'.repeat(40))).toBe(true);
});

it('passes the batch sizes and the stale limit on, and says who beat', async () => {
  const { app, calls } = testApp({}, { ...secrets, OPS_STALE_STEP_MINUTES: '7.5' });
  await app.request(heartbeat, { headers: { ...bearer(cronSecret), 'User-Agent': 'vercel-cron/1.0' } });
  expect(calls[0]).toEqual([
    'heartbeat',
    { source: 'vercel', eventBatch: 500, reactionBatch: 50, staleMinutes: 7.5 },
  ]);
});

it('does not read the body of a heartbeat', async () => {
  const { app } = testApp();
  expect((await app.request(heartbeat, json('not json', bearer(apiKey)))).status).toBe(200);
});

function caught(act: () => unknown): Error {
  try {
    act();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('nothing was thrown');
}
