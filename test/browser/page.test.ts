/** The page in a real browser, over the real app and database: what is seen when signed in, signed out and without script. */
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createApp, signInUrl, startServer } from '../../local/server.js';
import { parseControlEnv } from '../../vercel/app/env.js';
import { useEngine } from '../sql/engine-kit.js';
import { type Browser, browserPath, startBrowser, type Tab } from '../support/browser.js';
import { until } from '../support/until.js';
import { apiKey, secrets } from '../unit/http-app.js';

/** Says nothing of the loop, and nothing of its data. */
const calm =
  /No proposal waits|run out of attempts|worker is running|Waiting for you|From event to step|Secret/;
const boardShown = "getComputedStyle(document.getElementById('board')).display !== 'none'";
const signInShown = "getComputedStyle(document.getElementById('sign-in')).display !== 'none'";
const focused = 'document.activeElement.textContent.trim() + document.activeElement.id';
const click = (selector: string) => `document.querySelector(${JSON.stringify(selector)}).click()`;
const titles = "[...document.querySelectorAll('#proposals strong')].map((e) => e.textContent).join()";

/** Runs in the page: the contrast of a pill of each tone with the card it stands on (WCAG 2.2, relative luminance). */
const contrastsOf = `(tones) => {
  const light = (colour) => {
    const part = (n) => (n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.match(/[\\d.]+/g).map((n) => part(n / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pill = document.getElementById('loop-status');
  const behind = light(getComputedStyle(pill.closest('.card')).backgroundColor);
  return tones.map((tone) => {
    pill.className = 'pill tone-' + tone;
    const ink = light(getComputedStyle(pill).color);
    return (Math.max(ink, behind) + 0.05) / (Math.min(ink, behind) + 0.05);
  });
}`;

describe.skipIf(browserPath === undefined)('the page', () => {
  const engine = useEngine();
  let browser: Browser;
  let url: string;
  let held: Promise<void> | undefined;
  let asked: string[];
  let closeServer: () => Promise<void>;

  beforeAll(async () => {
    browser = await startBrowser(browserPath ?? '');
    const log = { info: () => {}, warn: () => {}, error: () => {} };
    const app = createApp({ port: engine.port, env: parseControlEnv(secrets), log, now: () => new Date() });
    const fetch: typeof app.fetch = async (request, ...rest) => {
      asked.push(new URL(request.url).pathname);
      const answer = await app.fetch(request, ...rest);
      if (request.url.endsWith('/overview')) await held;
      return answer;
    };
    const server = await startServer({ app: { fetch }, host: '127.0.0.1', port: 0 });
    url = server.url;
    closeServer = server.close;
  });
  afterAll(async () => {
    await browser?.close();
    await closeServer?.();
  });
  beforeEach(async () => {
    asked = [];
    held = undefined;
    await engine.setPolicy('auto_approve', { enabled: false });
    await engine.setPolicy('approvals', { expires_minutes: 600 });
  });

  const propose = (title: string) =>
    engine.port.createProposal({ template: { title, steps: [{ kind: 'noop' }] } });
  const link = () => signInUrl(url, apiKey);
  async function signedIn(): Promise<Tab> {
    const tab = await browser.tab();
    await tab.open(link());
    await tab.wait(boardShown);
    return tab;
  }

  test('shows a stranger the sign-in form and nothing else', async () => {
    const tab = await browser.tab();
    await tab.open(url);
    await tab.wait(signInShown);
    expect(await tab.text()).not.toMatch(calm);
    expect(await tab.ask(boardShown)).toBe(false);
  });

  test('says without JavaScript what to do, and nothing else', async () => {
    const tab = await browser.tab();
    await tab.scripting(false);
    await tab.open(url);
    await until(async () => /JavaScript/.test(await tab.text()), { what: 'the sentence for no script' });
    expect(await tab.text()).toContain('npm run status');
    expect(await tab.text()).not.toMatch(calm);
  });

  test('has no data left after signing out, in sight or not, also when an answer was on its way', async () => {
    await propose('Secret plan');
    const tab = await signedIn();
    await tab.wait("document.querySelector('#proposals button')");
    await tab.ask(click('#proposals .primary'));
    await tab.wait("document.getElementById('verdict').open");
    let release = () => {};
    held = new Promise((resolve) => {
      release = resolve;
    });
    onTestFinished(release);
    asked = [];
    await until(() => asked.includes('/api/ops/overview'), { what: 'a refresh that is held' });
    await tab.ask(click('#leave'));
    await tab.wait(signInShown);
    release();
    asked = [];
    await tab.ask("fetch('/health')");
    const left = await tab.ask('document.documentElement.outerHTML + document.title');
    expect(left).not.toContain('Secret');
    expect(left).not.toContain('noop');
    expect(await tab.ask("document.getElementById('link').value")).toBe('');
    expect(await tab.text()).not.toMatch(calm);
    expect(await tab.ask(focused)).toBe('link');
  });

  test('says so when a session has ended, and clears itself', async () => {
    await propose('Secret plan');
    const tab = await signedIn();
    await engine.db.sql('delete from ops_sessions');
    await tab.ask(
      "fetch('/api/ops/session', {method: 'DELETE', headers: {'Content-Type': 'application/json'}, body: '{}'})",
    );
    await tab.wait(signInShown);
    expect(await tab.text()).toContain('The session has ended.');
    expect(await tab.ask('document.documentElement.outerHTML')).not.toContain('Secret');
  });

  test('takes a sign-in link that is opened in a tab that shows it, and keeps no token in the address', async () => {
    const tab = await browser.tab();
    await tab.open(url);
    await tab.wait(signInShown);
    await tab.ask('globalThis.kept = true');
    await tab.open(link());
    await tab.wait(boardShown);
    expect(await tab.ask('globalThis.kept')).toBe(true);
    expect(await tab.ask('location.href')).toBe(`${url}/`);
    await tab.ask(click('#leave'));
    await tab.wait(signInShown);
    await tab.open(link());
    await tab.wait(boardShown);
  });

  test('lists the oldest first, says how many more wait, and moves on to the next after a word', async () => {
    for (let n = 10; n < 33; n++) await propose(`Plan ${n}`);
    const tab = await signedIn();
    await tab.wait("document.querySelector('#proposals button')");
    expect(await tab.ask(titles)).toMatch(/^Plan 10,Plan 11,.*,Plan 29$/);
    expect(await tab.text()).toContain('and 3 more');
    await tab.ask("document.querySelector('#proposals .primary').focus()");
    await tab.press('Enter');
    await tab.wait("document.getElementById('verdict').open");
    await tab.ask(click('#verdict-confirm'));
    await tab.wait("document.getElementById('said').textContent");
    expect(await tab.ask("document.getElementById('said').textContent")).toBe(
      'Plan 10: approved by dashboard. 22 more wait.',
    );
    expect(await tab.ask('document.activeElement.ariaLabel')).toBe('Approve Plan 11');
    expect(await tab.ask("document.getElementById('said').getAttribute('role')")).toBe('status');
  });

  test('goes to the heading when the last one is decided', async () => {
    await propose('Only plan');
    const tab = await signedIn();
    await tab.wait("document.querySelector('#proposals .danger')");
    await tab.ask(click('#proposals .danger'));
    await tab.ask(click('#verdict-confirm'));
    await tab.wait("document.getElementById('said').textContent");
    expect(await tab.ask("document.getElementById('said').textContent")).toBe(
      'Only plan: rejected by dashboard. No proposal waits.',
    );
    expect(await tab.ask('document.activeElement.id')).toBe('proposals-title');
  });

  test('answers a question about nonsense beside the question', async () => {
    const tab = await signedIn();
    await tab.ask("document.getElementById('look-id').value = 'nonsense'");
    await tab.ask(click('#look-form button'));
    await tab.wait("document.querySelector('#look-form [role=status]').textContent");
    expect(await tab.ask("document.querySelector('#look-form [role=status]').textContent")).toMatch(
      /^That is no id\./,
    );
    await tab.ask("document.getElementById('look-id').value = '00000000-0000-4000-8000-000000000000'");
    await tab.ask(click('#look-form button'));
    await tab.wait("/^(?!That is no id)./.test(document.getElementById('look-said').textContent)");
    expect(await tab.ask("document.getElementById('said').textContent")).toBe('');
  });

  test('writes out what hides or turns text, and leaves joined emoji alone', async () => {
    const tab = await signedIn();
    const shown = (text: string) =>
      tab.ask(`import('/dashboard/draw.js').then(({ visible }) => visible(${JSON.stringify(text)}))`);
    expect(await shown('👨‍👩‍👧 🏳️‍🌈 👩🏽‍🚀')).toBe('👨‍👩‍👧 🏳️‍🌈 👩🏽‍🚀');
    expect(await shown('a\u200db\u202ec\u200d👧👧\u200d')).toBe('a<U+200D>b<U+202E>c<U+200D>👧👧<U+200D>');
  });

  test.each(['light', 'dark'] as const)('has pills that can be read, in %s', async (scheme) => {
    const tab = await signedIn();
    await tab.scheme(scheme);
    const tones = ['good', 'busy', 'wait', 'bad', 'idle'];
    const contrasts = await tab.ask(`(${contrastsOf})(${JSON.stringify(tones)})`);
    expect(contrasts).toEqual(tones.map(() => expect.any(Number)));
    // WCAG 2.2, 1.4.3: text of this size.
    for (const contrast of contrasts as number[]) expect(contrast).toBeGreaterThanOrEqual(4.5);
  });
});
