/** The pages behind an approval link: what they do and do not do, and how they read. */
import { describe, expect, it } from 'vitest';
import { OpsError } from '../../supabase/client/errors.js';
import { linkPolicy } from '../../vercel/app/links-page.js';
import { someId, testApp } from './http-app.js';

const token = 'ab'.repeat(32);
const path = `/api/ops/links/${token}`;
const hostile = '<script>alert(1)</script><img src=x> \u202egnorts" onload="x';

const look = {
  ...{
    verdict: 'approve',
    actor: 'link:ops',
    expires_at: '2026-11-21T08:00:00Z',
    state: 'open',
    why_not: null,
  },
  ...{
    proposal_id: someId,
    title: hostile,
    risk: 'high',
    status: 'pending',
    reason: 'waits',
    pattern_id: null,
  },
  created_at: '2026-11-20T08:00:00Z',
  template: {
    title: hostile,
    steps: [
      { kind: 'http', params: { url: 'https://api.test/x', body: hostile, json: { deep: [1] } } },
      { key: 'second', kind: 'tidy', executor: 'minion', when: '$.steps.a', on_failure: 'continue' },
    ],
  },
};
const used = {
  id: someId,
  status: 'approved',
  created: false,
  reason: 'fine',
  mission_id: someId,
  verdict: 'approve',
};

const opened = (answers: Record<string, (args: never) => unknown> = {}) =>
  testApp({ lookAtLink: () => look, useLink: () => used, ...answers });
const form = (body = '', headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
  body,
});
const names = (calls: [string, unknown][]) => calls.map(([name]) => name);

describe('looking at a link', () => {
  it.each(['GET', 'HEAD'])('by %s never acts, however often and whoever asks', async (method) => {
    const { app, calls } = opened();
    for (const agent of ['Slackbot-LinkExpanding 1.0', 'TelegramBot', 'Discordbot/2.0', 'Mozilla/5.0'])
      expect((await app.request(path, { method, headers: { 'User-Agent': agent } })).status).toBe(200);
    expect(names(calls)).toEqual(Array(4).fill('lookAtLink'));
  });

  it('shows all that would be approved, and a form that needs no script', async () => {
    const page = await (await opened().app.request(path)).text();
    expect(page).toMatch(/^<!doctype html>/);
    for (const text of [
      'Approve this proposal?',
      'high',
      'http',
      'https://api.test/x',
      '{&quot;deep&quot;:[1]}',
    ])
      expect(page).toContain(text);
    for (const text of [
      'tidy by minion',
      'key: second',
      'when: $.steps.a',
      'on_failure: continue',
      'link:ops',
    ])
      expect(page).toContain(text);
    expect(page).toMatch(/<form method="post">.*<label for="reason">.*<button type="submit"[^>]*>Approve</s);
    expect(page).toContain('<html lang="en">');
    expect(page).toContain('name="viewport"');
  });

  it('shows what events say as text, and what hides as letters', async () => {
    const page = await (await opened().app.request(path)).text();
    expect(page).not.toMatch(/<script|<img src=x|\u202e|\sonload="/);
    expect(page).toContain('&lt;script&gt;');
    expect(page).toContain('&lt;U+202E&gt;gnorts');
    expect(page).not.toMatch(/<style|\sstyle=|javascript:/);
  });

  it('loads our style, sends its form to us, and is kept by nobody', async () => {
    const { headers } = await opened().app.request(path);
    expect(headers.get('content-security-policy')).toBe(linkPolicy);
    expect(linkPolicy).toMatch(/default-src 'none'.*form-action 'self'.*frame-ancestors 'none'/);
    expect(linkPolicy).not.toMatch(/unsafe|script-src/);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('referrer-policy')).toBe('no-referrer');
    expect(headers.get('x-robots-tag')).toBe('noindex');
  });

  it.each(['used', 'ended', 'expired', 'decided', 'changed', 'gone'])(
    'that is %s says why and has no button',
    async (state) => {
      const ended = { ...look, state, why_not: `because it is ${state}`, template: null };
      const response = await opened({ lookAtLink: () => ended }).app.request(path);
      expect(response.status).toBe(410);
      const page = await response.text();
      expect(page).toContain(`Because it is ${state}.`);
      expect(page).not.toMatch(/<form|<button/);
    },
  );
});

describe('following a link', () => {
  it('acts once, with the reason that was given', async () => {
    const { app, calls } = opened();
    const response = await app.request(path, form('reason=looks%20good%00%20'));
    expect(response.status).toBe(200);
    expect(await response.text()).toContain('Approved');
    expect(calls).toEqual([['useLink', { token, reason: 'looks good' }]]);
  });

  it('takes an empty form, no form, and a reason of any length', async () => {
    const { app, calls } = opened();
    await app.request(path, form(''));
    await app.request(path, { method: 'POST' });
    await app.request(path, form(`reason=${'x'.repeat(9_000)}`));
    expect(calls.map(([, args]) => args)).toEqual([
      { token },
      { token },
      { token, reason: 'x'.repeat(2_000) },
    ]);
    expect((await app.request(path, form(`reason=${'x'.repeat(40_000)}`))).status).toBe(413);
  });

  it.each(['cross-site', 'same-site'])('is refused to a page that is %s', async (site) => {
    const { app, calls } = opened();
    expect((await app.request(path, form('', { 'Sec-Fetch-Site': site }))).status).toBe(403);
    expect(calls).toEqual([]);
    expect((await app.request(path, form('', { 'Sec-Fetch-Site': 'same-origin' }))).status).toBe(200);
  });

  it.each([
    ['OPS_015', 409, 'This link was used already'],
    ['OPS_003', 409, 'Daily cap'],
    ['OPS_012', 404, 'There is no such link'],
    ['OPS_001', 503, 'The database does not answer'],
    ['OPS_018', 500, 'Something failed'],
  ] as const)('refused with %s says so on a page', async (code, status, text) => {
    const message = {
      OPS_015: 'this link was used already',
      OPS_003: 'daily cap',
      OPS_012: 'there is no such link',
    };
    const refuse = () => {
      throw new OpsError(code, { ...message, OPS_001: 'pg: secret', OPS_018: 'at line 3' }[code] ?? '');
    };
    const { app, lines } = opened({ useLink: refuse });
    const response = await app.request(path, form());
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toMatch(/^text\/html/);
    expect(response.headers.get('retry-after')).toBe(status === 503 ? '5' : null);
    const page = await response.text();
    expect(page).toContain(text);
    expect(page).toContain('Nothing was decided');
    expect(page).not.toMatch(/pg: secret|at line 3/);
    if (status >= 500) expect(lines.at(-1)).toMatchObject({ status, code });
  });
});

describe('a token', () => {
  it.each(['x', 'AB'.repeat(32), 'ab'.repeat(31), `${token}0`, '..%2f..%2fhealth', '%00'])(
    'that is none (%s) never reaches the database',
    async (odd) => {
      const { app, calls } = opened();
      for (const init of [{}, form()])
        expect((await app.request(`/api/ops/links/${odd}`, init)).status).toBe(404);
      expect(calls).toEqual([]);
    },
  );

  it('stands in no log line', async () => {
    const { app, lines } = opened();
    for (const init of [{}, { method: 'HEAD' }, form(), { method: 'DELETE' }]) await app.request(path, init);
    await app.request(`${path}/`);
    expect(lines.length).toBe(5);
    expect(JSON.stringify(lines)).not.toContain(token);
    expect(lines[0]).toMatchObject({ path: '/api/ops/links/…' });
  });

  it('answers to GET, HEAD and POST, nothing else', async () => {
    const response = await opened().app.request(path, { method: 'PUT' });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('GET, HEAD, POST');
  });
});
