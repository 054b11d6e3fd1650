/** What an approver reads on the page, in a real browser, on a phone and on a desk: all of it, and in whole words. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signInUrl, startServer } from '../../local/server.js';
import { type Browser, browserPath, startBrowser, type Tab } from '../support/browser.js';
import { apiKey, now, secrets, someId, testApp } from '../unit/http-app.js';

const items = Array.from({ length: 1_000 }, (_, n) => `person-${n}@example.com`);
const template = {
  title: 'Tell a thousand people',
  dry_run: true,
  steps: [
    { key: 'find', kind: 'agent', params: { role: 'sage', prompt: 'Who has asked for this?' } },
    {
      ...{ kind: 'notify', when: '$.steps.find.result.ok', on_failure: 'continue' },
      for_each: { items, max: 1_000 },
    },
  ],
};
const proposal = {
  ...{ id: someId, title: template.title, source: 'reaction', status: 'pending', risk: 'critical', template },
  ...{ reason: 'risk critical is above low', pattern_id: 'a-pattern', event_id: null, content_hash: null },
  ...{ created_at: now.toISOString(), expires_at: null },
};
const status = {
  ...{ events: { fired: 3 }, reactions: {}, proposals: { pending: 1 }, missions: {}, steps: {} },
  ...{ dry_runs: { succeeded: 2 }, waiting: {}, workers: [], latencies: {}, radar: {} },
};
const joins = 'It joins untrusted input, secrets and an outside effect.';
const why = {
  ...{ kind: 'proposal', id: someId, sentences: ['It waits for a person.'] },
  approval: [
    { condition: 'rule of two', ok: false, sentence: joins },
    { condition: 'switch', ok: true, sentence: 'Auto-approval is not paused.' },
  ],
};

/** Every button that is seen, and on how many lines its text stands: a word that breaks makes one more. */
const buttonLines = `[...document.querySelectorAll('button')].filter((b) => b.offsetParent !== null).map((b) => {
  const range = document.createRange();
  range.selectNodeContents(b);
  return [b.textContent, new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size];
})`;
const click = (selector: string) => `document.querySelector('${selector}').click()`;

describe.skipIf(browserPath === undefined)('an approver', () => {
  const { app } = testApp(
    {
      listWaiting: () => [proposal],
      status: () => status,
      why: () => why,
      openSession: () => ({ opened: true, expires_at: new Date(Date.now() + 3_600_000).toISOString() }),
    },
    secrets,
    () => new Date(),
  );
  let browser: Browser;
  let tab: Tab;
  let close: () => Promise<void>;
  beforeAll(async () => {
    const server = await startServer({ app, host: '127.0.0.1', port: 0 });
    close = server.close;
    browser = await startBrowser(browserPath ?? '');
    tab = await browser.tab();
    await tab.open(signInUrl(server.url, apiKey));
    await tab.wait("document.querySelector('#proposals button')");
  });
  afterAll(async () => {
    await browser?.close();
    await close?.();
  });

  test('tells dry runs apart, those that wait and those that are done', async () => {
    expect(await tab.ask("document.querySelector('#proposals .top').textContent")).toContain('dry run');
    expect(await tab.ask("document.getElementById('flow').textContent")).toMatch(/Dry run steps.*2/s);
  });

  test.each<[number, 'light' | 'dark']>([
    [360, 'light'],
    [360, 'dark'],
    [1280, 'light'],
    [1280, 'dark'],
  ])('finds every button whole, and nothing beside the screen, at %i px, %s', async (width, scheme) => {
    await tab.shape(width, scheme);
    const buttons = (await tab.ask(buttonLines)) as [string, number][];
    expect(buttons.map(([word]) => word)).toEqual(expect.arrayContaining(['Approve', 'Reject', 'Why']));
    expect(buttons.filter(([, lines]) => lines !== 1)).toEqual([]);
    expect(await tab.ask('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
  });

  test('reads all that bears on what would run, from its beginning', async () => {
    await tab.shape(360, 'light');
    await tab.ask(click('#proposals button'));
    await tab.wait("document.querySelector('#verdict').innerText.includes('untrusted')");
    const text = String(await tab.ask("document.querySelector('#verdict').innerText"));
    for (const said of [
      ...[
        'risk critical',
        'risk critical is above low',
        joins,
        'A dry run',
        'As the role sage.',
        'After find.',
      ],
      ...['Runs 1,000 times, once for each of', 'Only when $.steps.find.result.ok', 'the mission goes on'],
    ])
      expect(text).toContain(said);
    expect(text).not.toContain('not paused');
    expect(await tab.ask("document.querySelector('#verdict').scrollTop")).toBe(0);
    await tab.ask(click('#verdict-cancel'));
  });
});
