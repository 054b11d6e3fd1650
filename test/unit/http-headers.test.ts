import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { closeHeaders } from '../../vercel/app/headers.js';
import { loginTtlMs, mintLoginToken } from '../../vercel/app/login.js';
import { apiKey, bearer, json, now, previousKey, secrets, someId, testApp } from './http-app.js';

const origin = 'http://localhost';
const sameOrigin = { 'Sec-Fetch-Site': 'same-origin' };

describe('headers', () => {
  const routes: [string, RequestInit][] = [
    ['/health', {}],
    ['/api/ops/status', { headers: bearer(apiKey) }],
    ['/api/ops/status', {}],
    ['/api/ops/heartbeat', { method: 'POST', headers: bearer(apiKey) }],
    ['/api/ops/heartbeat', { method: 'PUT' }],
    ['/nothing', {}],
    ['/', {}],
    ['/dashboard/page.js', {}],
  ];
  it.each(routes)('of %s %j close what is not needed', async (path, init) => {
    const { headers } = await testApp().app.request(path, init);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('referrer-policy')).toBe('no-referrer');
    expect(headers.get('cross-origin-opener-policy')).toBe('same-origin');
    expect(headers.get('cross-origin-resource-policy')).toBe('same-origin');
    expect(headers.get('strict-transport-security')).toBeNull();
    expect(headers.get('permissions-policy')).toContain('camera=()');
    expect(headers.get('content-security-policy')).toMatch(/^default-src 'none'; .*frame-ancestors 'none'/);
    expect(headers.get('access-control-allow-origin')).toBeNull();
    expect(headers.get('x-powered-by')).toBeNull();
  });

  it.each(['/health', '/', '/api/ops/status', '/nothing'])(
    'of %s ask for TLS for good, over TLS',
    async (path) => {
      const { headers } = await testApp().app.request(`https://ops.example${path}`);
      expect(headers.get('strict-transport-security')).toBe('max-age=63072000; includeSubDomains');
    },
  );

  it('are put on an answer that no app made, and keep what is there', () => {
    const headers = new Headers({ 'Cache-Control': 'private' });
    closeHeaders(headers, 'https://ops.example/api/ops/status');
    expect(Object.fromEntries(headers)).toEqual({
      'cache-control': 'private',
      'content-security-policy': expect.stringContaining("frame-ancestors 'none'"),
      'referrer-policy': 'no-referrer',
      'strict-transport-security': expect.stringMatching(/^max-age=63072000/),
      'x-content-type-options': 'nosniff',
    });
  });

  it('let the page load its own files and nothing inline', async () => {
    const policy = (await testApp().app.request('/')).headers.get('content-security-policy') ?? '';
    expect(policy).toContain("script-src 'self'");
    expect(policy).toContain("require-trusted-types-for 'script'");
    expect(policy).not.toContain('unsafe');
  });

  it('let an answer of the API load nothing', async () => {
    const policy = (await testApp().app.request('/health')).headers.get('content-security-policy');
    expect(policy).not.toContain('self');
  });
});

describe('the page', () => {
  const dashboard = new URL('../../vercel/dashboard/', import.meta.url);

  it.each(readdirSync(dashboard))('serves %s with a type of its own and no secret in it', async (file) => {
    const response = await testApp().app.request(`/dashboard/${file}`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(
      /^(text\/(html|css|javascript); charset=utf-8|image\/svg\+xml)$/,
    );
    expect(await response.text()).not.toMatch(/OPS_API_KEY|CRON_SECRET|_SECRET|DATABASE_URL/);
  });

  it('has no inline script or style and sets no markup', async () => {
    const html = await (await testApp().app.request('/')).text();
    expect(html).toMatch(/^<!doctype html>/);
    expect(html).not.toMatch(/<script(?![^>]*src=)|<style|\sstyle=|\son\w+=/);
    for (const file of ['page.js', 'board.js', 'draw.js', 'api.js']) {
      const code = await (await testApp().app.request(`/dashboard/${file}`)).text();
      expect(code).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function/);
    }
  });
});

describe('a session', () => {
  const signIn = (
    app: ReturnType<typeof testApp>['app'],
    token: string,
    headers: Record<string, string> = sameOrigin,
  ) => app.request('/api/ops/session', json({ token }, headers));
  const cookieOf = (response: Response) => (response.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
  const signedIn = async (test = testApp()) => ({
    ...test,
    cookie: cookieOf(await signIn(test.app, mintLoginToken(apiKey, now))),
  });

  it('is a cookie that scripts cannot read and other sites cannot send', async () => {
    const { app } = testApp();
    const response = await signIn(app, mintLoginToken(apiKey, now));
    expect(response.status).toBe(200);
    const cookie = response.headers.get('set-cookie') ?? '';
    for (const part of ['HttpOnly', 'SameSite=Strict', 'Path=/', 'Expires=']) expect(cookie).toContain(part);
    expect(cookie).not.toContain(apiKey);
    expect(cookie).not.toContain('Secure');
  });

  it('is Secure wherever TLS is', async () => {
    const init = json({ token: mintLoginToken(apiKey, now) }, sameOrigin);
    const response = await testApp().app.request('https://ops.example/api/ops/session', init);
    expect(response.headers.get('set-cookie')).toMatch(/^__Host-ops_session=.*Secure/);
  });

  it('reads the overview and approves, signed as the page', async () => {
    const { app, calls, cookie } = await signedIn();
    expect((await app.request('/api/ops/overview', { headers: { cookie, ...sameOrigin } })).status).toBe(200);
    const path = `/api/ops/proposals/${someId}/approve`;
    const named = await app.request(path, json({ actor: 'somebody' }, { cookie, ...sameOrigin }));
    expect(named.status).toBe(400);
    expect((await app.request(path, json({}, { cookie, ...sameOrigin }))).status).toBe(200);
    expect(calls.at(-1)).toEqual(['approveProposal', { id: someId, actor: 'dashboard' }]);
  });

  it('opens only what the page needs', async () => {
    const { app, cookie } = await signedIn();
    for (const path of ['/api/ops/events', '/api/ops/heartbeat', '/api/ops/proposals'])
      expect((await app.request(path, json({ type: 'a' }, { cookie, ...sameOrigin }))).status).toBe(401);
  });

  it('asks the database for a place, by hashes alone, and does not open without one', async () => {
    const token = mintLoginToken(apiKey, now);
    const { app, doorCalls } = testApp({ openSession: () => ({ opened: false, expires_at: null }) });
    const refused = await signIn(app, token);
    expect([refused.status, refused.headers.get('set-cookie')]).toEqual([401, null]);
    const asked = doorCalls.find(([name]) => name === 'openSession');
    expect(asked?.[1]).toMatchObject({ scope: 'operator', label: 'dashboard', hours: 12 });
    expect(JSON.stringify(doorCalls)).not.toContain(token);
  });

  it('does not open to a token of another key, of another time, or made up', async () => {
    const [expiry, nonce, mac] = mintLoginToken(apiKey, now).split('.');
    const tokens = [
      mintLoginToken('x'.repeat(32), now),
      mintLoginToken(apiKey, new Date(now.getTime() - loginTtlMs)),
      `${Number(expiry) + 1}.${nonce}.${mac}`,
      `${expiry}.${nonce}`,
      `${expiry}.${nonce}.`,
      'NaN..',
      '',
      apiKey,
    ];
    for (const token of tokens) expect((await signIn(testApp().app, token)).status).toBe(401);
  });

  it('does not open at all without a key on the server', async () => {
    const response = await signIn(testApp({}, {}).app, mintLoginToken('', now));
    expect(response.status).toBe(401);
  });

  it('ends with the key and when it is changed, without a question to the database', async () => {
    const { cookie } = await signedIn();
    const seen = async (sent: string, variables = secrets) => {
      const { app, doorCalls } = testApp({}, variables);
      const { status } = await app.request('/api/ops/overview', { headers: { cookie: sent } });
      return [status, doorCalls.some(([name]) => name === 'checkSession')];
    };
    expect(await seen(cookie)).toEqual([200, true]);
    expect(await seen(cookie, { ...secrets, OPS_API_KEY: 'z'.repeat(32) })).toEqual([401, false]);
    // Whatever its first character is, another one.
    const forged = cookie.replace(/session%3A(.)/, (_, first) => `session%3A${first === '_' ? '-' : '_'}`);
    expect(await seen(forged)).toEqual([401, false]);
    expect(await seen(`ops_session=session%3A${'a'.repeat(43)}`)).toEqual([401, false]);
    expect(await seen('ops_session=')).toEqual([401, false]);
  });

  it('lives through a change of keys', async () => {
    const { cookie } = await signedIn();
    const rotated = { ...secrets, OPS_API_KEY: 'z'.repeat(32), OPS_API_KEY_PREVIOUS: apiKey };
    const response = await testApp({}, rotated).app.request('/api/ops/overview', { headers: { cookie } });
    expect(response.status).toBe(200);
    expect(previousKey).not.toBe(apiKey);
  });

  it('can be closed', async () => {
    const { app, cookie, doorCalls } = await signedIn();
    const headers = { cookie, ...sameOrigin, 'Content-Type': 'application/json' };
    const response = await app.request('/api/ops/session', { method: 'DELETE', headers });
    expect(response.status).toBe(204);
    expect(response.headers.get('set-cookie')).toContain('Max-Age=0');
    expect(doorCalls.at(-1)).toEqual(['endSession', { hash: expect.stringMatching(/^[0-9a-f]{64}$/) }]);
  });
});

describe('a request that rests on a cookie', () => {
  const sites = ['same-origin', 'same-site', 'cross-site', 'none', undefined];
  const origins = [origin, 'https://evil.example', undefined];
  const types = ['application/json', 'application/x-www-form-urlencoded'];
  const cases = sites.flatMap((site) =>
    origins.flatMap((from) => types.map((type) => ({ site, from, type }))),
  );

  it.each(cases)(
    'changes something from $site, $from, $type only as the page itself',
    async ({ site, from, type }) => {
      const { app, calls } = testApp();
      const login = await app.request(
        '/api/ops/session',
        json({ token: mintLoginToken(apiKey, now) }, sameOrigin),
      );
      const headers = new Headers({
        cookie: (login.headers.get('set-cookie') ?? '').split(';')[0] ?? '',
        'Content-Type': type,
      });
      if (site !== undefined) headers.set('Sec-Fetch-Site', site);
      if (from !== undefined) headers.set('Origin', from);
      const path = `/api/ops/proposals/${someId}/reject`;
      const response = await app.request(path, { method: 'POST', headers, body: '{}' });
      const ours = site === 'same-origin' || (site === undefined && from === origin);
      expect(response.status).toBe(ours ? (type === 'application/json' ? 200 : 415) : 403);
      expect(calls.length).toBe(response.status === 200 ? 1 : 0);
      expect(response.headers.get('vary')).toContain('Sec-Fetch-Site');
    },
  );

  it('is not answered when another site asks, even to read', async () => {
    for (const site of ['same-site', 'cross-site']) {
      const headers = { cookie: 'ops_session=x', 'Sec-Fetch-Site': site };
      expect((await testApp().app.request('/api/ops/overview', { headers })).status).toBe(403);
    }
  });
});
