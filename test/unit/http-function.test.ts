/** The app as Vercel's functions mount it: from variables, at the first request. */
import { describe, expect, it } from 'vitest';
import { createApp } from '../../vercel/app/app.js';
import { createAnswerer } from '../../vercel/app/function.js';
import { createHeartbeatApp } from '../../vercel/app/heartbeat-app.js';
import { apiKey, bearer, bodyOf, cronSecret, secrets } from './http-app.js';

const quiet = { ...secrets, OPS_LOG_LEVEL: 'silent' };
const ask = async (
  create: typeof createApp,
  variables: Record<string, string | undefined>,
  method: string,
  path: string,
  headers: Record<string, string> = {},
) => {
  const answer = createAnswerer(create, variables);
  return await answer(new Request(`https://ops.example${path}`, { method, headers }));
};

describe('a function', () => {
  it('answers a wrong environment with what to correct, and no value', async () => {
    const wrong = { OPS_API_KEY: 'canary', OPS_WEBHOOK_SHOP_SECRET: 'canary' };
    const response = await ask(createApp, wrong, 'GET', '/health');
    const text = await response.text();
    expect(response.status).toBe(500);
    expect(response.headers.get('strict-transport-security')).not.toBeNull();
    for (const name of ['OPS_016', ...Object.keys(wrong)]) expect(text).toContain(name);
    expect(text).not.toContain('canary');
  });

  it('lives without a database, and says that it cannot work', async () => {
    expect((await ask(createApp, quiet, 'GET', '/health')).status).toBe(200);
    const response = await ask(createApp, quiet, 'GET', '/api/ops/status', bearer(apiKey));
    expect([response.status, (await bodyOf(response)).code]).toEqual([503, 'OPS_001']);
  });
});

describe('the heartbeat on its own', () => {
  const cases: [string, string, Record<string, string>][] = [
    ['GET', '/api/ops/heartbeat', bearer(cronSecret)],
    ['GET', '/api/ops/heartbeat', bearer(apiKey)],
    ['GET', '/api/ops/heartbeat', {}],
    ['HEAD', '/api/ops/heartbeat', bearer(cronSecret)],
    ['POST', '/api/ops/heartbeat', bearer(apiKey)],
    ['POST', '/api/ops/heartbeat', bearer(cronSecret)],
    ['POST', '/api/ops/heartbeat', bearer('undefined')],
    ['POST', '/api/ops/heartbeat/', bearer(apiKey)],
    ['PUT', '/api/ops/heartbeat', bearer(apiKey)],
  ];
  it.each(cases)('answers %s %s with %j as the whole app does', async (method, path, headers) => {
    const [whole, alone] = await Promise.all(
      [createApp, createHeartbeatApp].map((create) => ask(create, quiet, method, path, headers)),
    );
    expect(alone?.status).toBe(whole?.status);
    expect([...(alone?.headers ?? [])].map(([name]) => name)).toEqual(
      [...(whole?.headers ?? [])].map(([name]) => name),
    );
  });

  it('has nothing else', async () => {
    for (const path of ['/health', '/api/ops/status', '/'])
      expect((await ask(createHeartbeatApp, quiet, 'GET', path, bearer(apiKey))).status).toBe(404);
  });
});
