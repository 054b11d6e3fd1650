/**
 * Stand-ins for Slack, Discord, Telegram and a Standard Webhooks receiver, after their public documentation: what they
 * refuse, how they say so, and how they ask for patience. Each is a reply for a receiver on loopback.
 */
import { Webhook } from 'standardwebhooks';
import { type Received, type Reply, reply } from './receiver.js';

// biome-ignore lint/suspicious/noExplicitAny: bodies are looked into member by member
const bodyOf = ({ body }: Received): any => JSON.parse(body);

/** docs.slack.dev, "Sending messages using incoming webhooks" and the Block Kit reference. */
export const slackService: Reply = (response, received) => {
  const { text, blocks = [] } = bodyOf(received);
  const fine = blocks.every(
    (block: { type: string; text: { type: string; text: string } }) =>
      ['header', 'section'].includes(block.type) &&
      (block.type !== 'header' || block.text.type === 'plain_text') &&
      block.text.text.length > 0 &&
      block.text.text.length <= (block.type === 'header' ? 150 : 3000),
  );
  if (typeof text !== 'string' || text === '') return reply(400, 'no_text')(response, received);
  return reply(fine ? 200 : 400, fine ? 'ok' : 'invalid_blocks')(response, received);
};
export const slackIsBusy: Reply = reply(429, 'rate_limited', { 'retry-after': '30' });

/** discord.com/developers/docs: "Execute Webhook", "Rate Limits", "Error Messages". */
export const discordService: Reply = (response, received) => {
  const { content } = bodyOf(received);
  if (typeof content !== 'string' || content.length === 0 || content.length > 2000)
    return reply(400, { message: 'Invalid Form Body', code: 50035 })(response, received);
  const waits = new URL(received.path, 'http://discord.test').searchParams.get('wait') === 'true';
  return reply(waits ? 200 : 204, waits ? { id: '11223344', content } : '')(response, received);
};
export const discordIsBusy: Reply = reply(
  429,
  { message: 'You are being rate limited.', retry_after: 64.57, global: false },
  { 'retry-after': '65', 'x-ratelimit-scope': 'shared' },
);

/** core.telegram.org/bots/api: "Making requests", "sendMessage", "ResponseParameters". */
export const telegramService =
  (token: string): Reply =>
  (response, received) => {
    const refuse = (code: number, description: string) =>
      reply(code, { ok: false, error_code: code, description })(response, received);
    if (received.path !== `/bot${token}/sendMessage`) return refuse(401, 'Unauthorized');
    const { chat_id, text } = bodyOf(received);
    if (chat_id !== '-1001') return refuse(400, 'Bad Request: chat not found');
    if (text === '') return refuse(400, 'Bad Request: message text is empty');
    if (text.length > 4096) return refuse(400, 'Bad Request: message is too long');
    return reply(200, { ok: true, result: { message_id: 42, chat: { id: -1001 }, text } })(
      response,
      received,
    );
  };
export const telegramIsBusy: Reply = reply(429, {
  ok: false,
  error_code: 429,
  description: 'Too Many Requests: retry after 7',
  parameters: { retry_after: 7 },
});

/** Takes what is signed with the secret, by the library that receivers use. */
export const webhookReceiver =
  (secret: string): Reply =>
  (response, received) => {
    try {
      new Webhook(secret).verify(received.body, received.headers as Record<string, string>);
      reply(204)(response, received);
    } catch (error) {
      reply(401, String(error))(response, received);
    }
  };
