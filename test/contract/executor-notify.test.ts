/** The notify executor against stand-ins of the services it speaks to, by their documented behaviour. */
import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { ExecutorDatabase } from '../../local/executors/contract.js';
import type { Json } from '../../local/executors/json.js';
import { createNotify } from '../../local/executors/notify/notify.js';
import { plain, within } from '../../local/executors/notify/text.js';
import { OpsError } from '../../supabase/client/errors.js';
import * as services from './chat-services.js';
import { checkExecutor, runStep, type Surroundings } from './kit.js';
import { hangUp, openReceiver, type Reply, reply } from './receiver.js';

const there = await openReceiver();
const notify = createNotify({
  resolve: (name) => Promise.reject(new Error(`nobody knows ${name}`)),
  now: () => new Date(),
});

const botToken = '123456:AAFakeTokenOfABotThatIsNone';
const signingSecret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const secrets = {
  SLACK_URL: `${there.origin}/services/T0/B0/slack-secret-path`,
  DISCORD_URL: `${there.origin}/api/webhooks/1/discord-secret-token`,
  BOT_TOKEN: botToken,
  SIGNING: signingSecret,
  OPS_PUBLIC_URL: 'https://ops.example.com/',
  HOME_URL: 'http://169.254.169.254/',
};
const channels = {
  slack: { type: 'slack', url_secret: 'SLACK_URL' },
  discord: { type: 'discord', url_secret: 'DISCORD_URL' },
  telegram: { type: 'telegram', token_secret: 'BOT_TOKEN', chat_id: '-1001', url: there.origin },
  webhook: { type: 'webhook', url: `${there.origin}/hook`, signing_secret: 'SIGNING' },
};
const healthy: Record<string, Reply> = {
  slack: services.slackService,
  discord: services.discordService,
  telegram: services.telegramService(botToken),
  webhook: services.webhookReceiver(signingSecret),
};
const everywhere = Object.keys(channels);

const token = (letter: string) => letter.repeat(64);
const proposalId = randomUUID();
const links = {
  ...{ approve: token('a'), reject: token('b'), proposal_id: proposalId },
  ...{ title: 'work', risk: 'high', expires_at: '2026-11-20T08:00:00+00:00' },
};
const approve = { proposal_id: proposalId };
const db: Partial<ExecutorDatabase> = { makeLinksAsStep: async () => links };

const around = (policy: { [name: string]: Json } = {}, more: Surroundings = {}): Surroundings => ({
  secrets,
  db,
  policies: { worker_policy: { allowed_hosts: [there.origin], channels, ...policy }, agent_roles: {} },
  ...more,
});
const run = async (params: object, policy?: { [name: string]: Json }, more?: Surroundings) => {
  const outcome = await runStep(notify, { text: 'hello', ...params }, around(policy, more));
  if (outcome.kind === 'complete') return outcome.result as Record<string, unknown>;
  return outcome.kind === 'fail' ? outcome.failure : outcome;
};
/** Sends it to a healthy service, and gives what the service got. */
async function told(channel: string, params: object) {
  there.answer(healthy[channel] ?? reply(500));
  expect(await run({ channel, ...params })).toMatchObject({ sent: true, type: channel });
  const [got] = there.received.slice(-1);
  if (got === undefined) throw new Error('nothing arrived');
  return { ...got, json: JSON.parse(got.body) };
}

checkExecutor(notify, {
  good: [
    { params: { channel: 'webhook', text: 'x' }, around: around() },
    { params: { channel: 'slack', title: 't', text: 'x', approve }, around: around() },
  ],
  bad: [
    {},
    { channel: 'slack' },
    { channel: 'slack', text: '' },
    { channel: 'slack', text: 'x', url: 'https://evil.test/' },
    { channel: 'slack', text: 'x', approve: { proposal_id: 'p1' } },
    { channel: 'slack', text: 'x', approve: { proposal_id: proposalId, ttl_minutes: 0 } },
  ],
});

describe('a message', () => {
  test.each(everywhere)('arrives at %s, with title and link', async (channel) => {
    const link = 'https://example.com/a_b?c=1&d=2#part';
    const got = await told(channel, { title: 'A title', text: 'Two\nlines', link });
    expect(got.method).toBe('POST');
    expect(got.body).toContain('A title');
    expect(got.body).toContain('Two\\nlines');
    expect(got.body.replaceAll('&amp;', '&')).toContain(link);
  });

  test.each(everywhere)('carries the approve and reject links to %s', async (channel) => {
    const { body } = await told(channel, { text: 'please look', approve });
    for (const letter of ['a', 'b'])
      expect(body).toContain(`https://ops.example.com/api/ops/links/${token(letter)}`);
  });

  test.each(everywhere)('that is far too long is cut to what %s takes, links whole', async (channel) => {
    for (const text of ['x'.repeat(4_000), '*'.repeat(4_000), '&'.repeat(4_000), '😀'.repeat(2_000)])
      expect((await told(channel, { title: '<'.repeat(300), text, approve })).body).toContain(token('b'));
  });

  test.each(everywhere)('of nothing visible still arrives at %s', async (channel) => {
    await told(channel, { text: '\u200b\u202e', title: '\u2066' });
  });

  test('names the message where the service does', async () => {
    there.answer(healthy.discord ?? reply(500));
    expect(await run({ channel: 'discord', approve })).toEqual({
      ...{ channel: 'discord', type: 'discord', sent: true },
      ...{ message_id: '11223344', expires_at: links.expires_at },
    });
    there.answer(healthy.telegram ?? reply(500));
    expect(await run({ channel: 'telegram' })).toMatchObject({ message_id: '42' });
  });
});

describe('what events say', () => {
  const hostile = [
    '<!channel> <!here> <@U123> <https://evil.test|Approve>',
    '@everyone @here <@&1> [Approve](https://evil.test) ||hidden|| # big',
    '@ops_admin `code` *bold* _it_ ~gone~ > quote & more',
    '\u202etxet\u202c \u200bzero\u2066width \u{e0041}tag \u0007bell',
  ].join('\n');

  test('is plain text to Slack, in the blocks and in the fallback', async () => {
    const { json } = await told('slack', { title: hostile, text: hostile });
    for (const block of json.blocks) expect(block.text).toMatchObject({ type: 'plain_text', emoji: false });
    expect(json.text).toContain('&lt;!channel&gt;');
    expect(json.text).not.toMatch(/[<>]/);
    expect(json).toMatchObject({ unfurl_links: false, unfurl_media: false });
  });

  test('pings nobody and hides no link on Discord', async () => {
    const { json } = await told('discord', { title: '**x**', text: hostile });
    expect(json.allowed_mentions).toEqual({ parse: [] });
    expect(json.content).toContain('\\[Approve\\]\\(https://evil.test\\)');
    expect(json.content).toContain('@\u2060everyone');
    expect(json.content).not.toMatch(/(?<!\\)[[\]()<>`|#~_]/);
    expect(json.content.startsWith('**\\*\\*x\\*\\***\n')).toBe(true);
  });

  test('is plain text to Telegram and notifies nobody', async () => {
    const { json } = await told('telegram', { title: 't', text: hostile });
    expect(json).not.toHaveProperty('parse_mode');
    expect(json.link_preview_options).toEqual({ is_disabled: true });
    expect(json.text).toContain('@\u2060ops_admin');
    expect(json.text).not.toMatch(/@[^\u2060]/);
  });

  test('loses what nobody sees, everywhere', async () => {
    for (const channel of everywhere)
      expect((await told(channel, { text: hostile })).body).not.toMatch(
        /\p{Cc}|[\u200b-\u200f\u202a-\u202e\u2066-\u2069\u{e0000}-\u{e007f}]/u,
      );
    expect(plain(' a\r\nb\u0000\ud800 ')).toBe('a\nb');
  });

  test('is cut between characters, never within an escape', () => {
    expect(within(5, 'abcde')).toBe('abcde');
    expect(within(5, 'abcdef')).toBe('abcd…');
    expect(within(5, '&&', (c) => (c === '&' ? '&amp;' : c))).toBe('…');
    expect(within(4, '😀😀😀')).toBe('😀…');
  });

  test('as a link may not be anything but a web address', async () => {
    for (const link of ['javascript:alert(1)', 'https://user:pw@example.com/', 'not a link'])
      expect(await run({ channel: 'slack', link })).toMatchObject({ outcome: 'permanent' });
    expect(there.received).toEqual([]);
  });
});

describe('a webhook', () => {
  test('is signed so that a receiver of Standard Webhooks takes it, with one id over all attempts', async () => {
    const stepId = randomUUID();
    there.answer(healthy.webhook ?? reply(500));
    for (const attempt of [1, 2])
      expect(await run({ channel: 'webhook', approve }, {}, { stepId, attempt })).toMatchObject({
        sent: true,
      });
    expect(there.received.map(({ headers }) => headers['webhook-id'])).toEqual([stepId, stepId]);
    expect(JSON.parse(there.received[0]?.body ?? '')).toMatchObject({
      type: 'ops_loop.notification',
      data: { text: 'hello', step_id: stepId, proposal_id: proposalId, expires_at: links.expires_at },
    });
  });

  test('signed with another secret is refused by it, and with a weak one by us', async () => {
    there.answer(services.webhookReceiver(`whsec_${Buffer.alloc(32, 8).toString('base64')}`));
    expect(await run({ channel: 'webhook' })).toMatchObject({
      outcome: 'permanent',
      error_class: 'HTTP 401',
    });
    const weak = { secrets: { ...secrets, SIGNING: 'whsec_c2hvcnQ=' } };
    expect(await run({ channel: 'webhook' }, {}, weak)).toMatchObject({ error_class: 'ChannelInvalid' });
  });
});

describe('what a service answers', () => {
  test.each([
    ['slack', services.slackIsBusy, 30],
    ['discord', services.discordIsBusy, 64.57],
    ['telegram', services.telegramIsBusy, 7],
    ['webhook', reply(429, '', { 'retry-after': '3' }), 3],
  ] as const)('%s asks for patience', async (channel, busy, seconds) => {
    there.answer(busy);
    expect(await run({ channel })).toMatchObject({
      outcome: 'rate_limited',
      retry_after_seconds: seconds,
      error_class: 'HTTP 429',
    });
  });

  test.each<[string, Reply, object]>([
    [
      'slack',
      reply(404, 'no_service'),
      { outcome: 'permanent', error: expect.stringContaining('no_service') },
    ],
    ['slack', reply(410, 'channel_is_archived'), { outcome: 'permanent' }],
    ['slack', reply(500, 'rollup_error'), { outcome: 'unknown' }],
    ['slack', reply(302, '', { location: 'https://evil.test/' }), { error_class: 'TooManyRedirects' }],
    ['discord', reply(400, { message: 'Invalid Form Body' }), { outcome: 'permanent' }],
    ['discord', hangUp, { outcome: 'unknown' }],
    ['telegram', reply(403, { ok: false, description: 'bot was blocked' }), { outcome: 'permanent' }],
    ['telegram', reply(502, ''), { outcome: 'unknown' }],
    ['webhook', reply(410, ''), { outcome: 'permanent' }],
    ['webhook', reply(500, ''), { outcome: 'retryable' }],
    ['webhook', hangUp, { outcome: 'retryable' }],
  ])('%s: %#', async (channel, answer, expected) => {
    there.answer(answer);
    expect(await run({ channel })).toMatchObject(expected);
    expect(there.received).toHaveLength(1);
  });

  test.each(everywhere)('of %s never brings a secret or a link into what is stored', async (channel) => {
    there.answer((response, got) => reply(400, `${got.path} ${got.body}`)(response, got));
    const stored = JSON.stringify(await run({ channel, approve }));
    expect(stored).toContain('HTTP 400');
    expect(stored).not.toMatch(/secret|AAFakeToken|a{64}|b{64}/);
  });
});

describe('a channel', () => {
  test.each<[string, object, string]>([
    ['is not described', {}, 'there is no channel slack'],
    ['is described in a wrong form', { slack: { type: 'pager' } }, 'there is no channel slack'],
    ['lacks what its type needs', { slack: { type: 'slack' } }, 'needs url_secret'],
    ['has a variable that is not set', { slack: { type: 'slack', url_secret: 'NOT_SET' } }, 'NOT_SET'],
    ["names the loop's own secret", { slack: { type: 'slack', url_secret: 'DATABASE_URL' } }, 'own secret'],
    ['leads where nothing may', { slack: { type: 'slack', url_secret: 'HOME_URL' } }, 'may not be called'],
    [
      'has a token that is none',
      { slack: { type: 'telegram', token_secret: 'SIGNING', chat_id: '1' } },
      'bot token',
    ],
  ])('that %s refuses for good', async (_why, described, message) => {
    const failure = await run({ channel: 'slack' }, { channels: described as { [name: string]: Json } });
    expect(failure).toMatchObject({ outcome: 'permanent', error: expect.stringContaining(message) });
    expect(there.received).toEqual([]);
  });

  test('needs its host granted, but for the provider’s own', async () => {
    expect(await run({ channel: 'slack' }, { allowed_hosts: [] })).toMatchObject({
      error_class: 'HostRefused',
    });
    const real = { ...secrets, SLACK_URL: 'https://hooks.slack.com/services/T/B/x' };
    expect(await run({ channel: 'slack' }, { allowed_hosts: [] }, { secrets: real })).toMatchObject({
      outcome: 'retryable',
      error: expect.stringContaining('hooks.slack.com could not be resolved'),
    });
  });

  test('that lacks something is what the doctor finds', async () => {
    const findings = await notify.doctor?.({
      secret: (name) => (name === 'SLACK_URL' ? 'x' : undefined),
      setting: () => undefined,
      workspace: '.',
      config: around({ channels: { ...channels, odd: { type: 'telegram' } } }).policies ?? {
        ...{ worker_policy: {}, agent_roles: {} },
      },
    });
    expect(findings).toMatchObject([
      { name: 'channel slack', ok: true },
      { name: 'channel discord', ok: false, message: expect.stringContaining('DISCORD_URL') },
      { name: 'channel telegram', ok: false },
      { name: 'channel webhook', ok: false, message: expect.stringContaining('SIGNING') },
      { name: 'channel odd', ok: false, message: 'has no token_secret, has no chat_id' },
    ]);
  });
});

describe('links', () => {
  const refusing = (code: 'OPS_012' | 'OPS_015' | 'OPS_006' | 'OPS_001'): Surroundings => ({
    db: { makeLinksAsStep: () => Promise.reject(new OpsError(code, `refused with ${code}`)) },
  });

  test('are not asked for without a public address', async () => {
    for (const OPS_PUBLIC_URL of ['', 'ops.example.com', 'ftp://x'])
      expect(
        await run({ channel: 'slack', approve }, {}, { secrets: { ...secrets, OPS_PUBLIC_URL } }),
      ).toMatchObject({ outcome: 'permanent', error_class: 'NoPublicUrl' });
    expect(there.received).toEqual([]);
  });

  test('of a proposal that waits no more are not sent, and that is no failure', async () => {
    expect(await run({ channel: 'slack', approve }, {}, refusing('OPS_015'))).toEqual({
      ...{ channel: 'slack', type: 'slack', sent: false, reason: 'refused with OPS_015' },
    });
    expect(there.received).toEqual([]);
  });

  test.each([
    ['OPS_012', 'permanent'],
    ['OPS_001', 'retryable'],
  ] as const)('refused with %s are a %s failure', async (code, outcome) => {
    expect(await run({ channel: 'slack', approve }, {}, refusing(code))).toMatchObject({
      outcome,
      error_class: code,
    });
  });
});
