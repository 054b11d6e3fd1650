import { StepError } from '../contract.js';
import { bodyOf, inWords, numberIn, type Speech } from './message.js';
import { telegramEscape, within } from './text.js';

/** Characters of a message (core.telegram.org/bots/api, "sendMessage"). */
const messageChars = 4_096;

/**
 * A bot's `sendMessage`, without a parse mode: nothing in the text is markup. The links are buttons under it. 429 carries
 * `parameters.retry_after` in seconds.
 */
export const telegram: Speech = {
  hosts: ['api.telegram.org'],
  mayRepeat: false,
  deliver({ title, text, link, decide }, given) {
    const server = (given.optional('url') ?? 'https://api.telegram.org').replace(/\/+$/, '');
    const head = title === undefined ? '' : `${within(300, title, telegramEscape)}\n\n`;
    const tail = [link && `\n${link}`, decide && `\nuntil ${inWords(decide)}`].filter(Boolean).join('');
    const room = messageChars - head.length - tail.length;
    return {
      url: `${server}/bot${botToken(given.secret('token_secret'))}/sendMessage`,
      body: JSON.stringify({
        chat_id: given.field('chat_id'),
        text: `${head}${within(room, text, telegramEscape)}${tail}`,
        link_preview_options: { is_disabled: true },
        ...(decide && { reply_markup: { inline_keyboard: [buttons(decide)] } }),
      }),
    };
  },
  wait: (answer) => {
    const { parameters } = bodyOf(answer);
    return numberIn((parameters as { retry_after?: unknown } | undefined)?.retry_after);
  },
  messageId: (answer) => {
    const { result } = bodyOf(answer);
    const id = numberIn((result as { message_id?: unknown } | undefined)?.message_id);
    return id === undefined ? undefined : String(id);
  },
};

const buttons = ({ approve, reject }: { approve: string; reject: string }) => [
  { text: 'Approve', url: approve },
  { text: 'Reject', url: reject },
];

/** The token becomes part of the path, so it may be nothing but a token. */
function botToken(token: string): string {
  if (/^\d{1,20}:[\w-]{10,100}$/.test(token)) return token;
  throw new StepError('the bot token does not look like one', {
    outcome: 'permanent',
    errorClass: 'ChannelInvalid',
    hint: 'Set the variable to the token as @BotFather gave it.',
  });
}
