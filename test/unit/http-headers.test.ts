import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loginTtlMs, mintLoginToken } from '../../vercel/app/session.js';
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
    expect(headers.get('strict-transport-security')).toBe('max-age=63072000; includeSubDomains');
    expect(headers.get('permissions-policy')).toContain('camera=()');
    expect(headers.get('content-security-policy')).toMatch(/^default-src 'none'; .*frame-ancestors 'none'/);
    expect(headers.get('access-control-allow-origin')).toBeNull();
    expect(headers.get('x-powered-by')).toBeNull();
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
    expect(response.headers.get('set-cookie')).toContain('Secure');
  });

  it('reads the overview and approves, signed as the page', async () => {
    const { app, calls, cookie } = await signedIn();
    expect((await app.request('/api/ops/overview', { headers: { cookie, ...sameOrigin } })).status).toBe(200);
    const path = `/api/ops/proposals/${someId}/approve`;
    expect((await app.request(path, json({ actor: 'somebody' }, { cookie, ...sameOrigin }))).status).toBe(
      200,
    );
    expect(calls.at(-1)).toEqual(['approveProposal', { id: someId, actor: 'dashboard' }]);
  });

  it('opens only what the page needs', async () => {
    const { app, cookie } = await signedIn();
    for (const path of ['/api/ops/events', '/api/ops/heartbeat', '/api/ops/proposals'])
      expect((await app.request(path, json({ type: 'a' }, { cookie, ...sameOrigin }))).status).toBe(401);
  });

  it('opens once per token', async () => {
    const { app } = testApp();
    const token = mintLoginToken(apiKey, now);
    expect((await signIn(app, token)).status).toBe(200);
    expect((await signIn(app, token)).status).toBe(401);
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

  it('ends after its time, with the key, and when it is changed', async () => {
    const { cookie } = await signedIn();
    const status = async (test: ReturnType<typeof testApp>, sent: string) =>
      (await test.app.request('/api/ops/overview', { headers: { cookie: sent } })).status;
    const hours = (n: number) => () => new Date(now.getTime() + n * 3_600_000);
    expect(await status(testApp({}, secrets, hours(11.9)), cookie)).toBe(200);
    expect(await status(testApp({}, secrets, hours(12)), cookie)).toBe(401);
    expect(await status(testApp({}, { ...secrets, OPS_API_KEY: 'z'.repeat(32) }), cookie)).toBe(401);
    expect(await status(testApp(), cookie.replace(/session%3A1/, 'session%3A2'))).toBe(401);
    expect(await status(testApp(), 'ops_session=session%3A9999999999999')).toBe(401);
    expect(await status(testApp(), 'ops_session=')).toBe(401);
  });

  it('lives through a change of keys', async () => {
    const { cookie } = await signedIn();
    const rotated = { ...secrets, OPS_API_KEY: 'z'.repeat(32), OPS_API_KEY_PREVIOUS: apiKey };
    const response = await testApp({}, rotated).app.request('/api/ops/overview', { headers: { cookie } });
    expect(response.status).toBe(200);
    expect(previousKey).not.toBe(apiKey);
  });

  it('can be closed', async () => {
    const { app, cookie } = await signedIn();
    const headers = { cookie, ...sameOrigin, 'Content-Type': 'application/json' };
    const response = await app.request('/api/ops/session', { method: 'DELETE', headers });
    expect(response.status).toBe(204);
    expect(response.headers.get('set-cookie')).toContain('Max-Age=0');
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
