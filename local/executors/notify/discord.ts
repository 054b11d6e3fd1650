import { parseTarget } from '../http/guard.js';
import { bodyOf, inWords, numberIn, type Speech } from './message.js';
import { discordEscape, within } from './text.js';

/** Characters of a message (discord.com/developers/docs, "Execute Webhook"). */
const contentChars = 2_000;
/** SUPPRESS_EMBEDS: no previews of links. */
const suppressEmbeds = 4;

/**
 * A webhook of a channel. `allowed_mentions` without entries pings nobody, whatever the text says. `wait` makes Discord
 * answer with the message once it is stored, so a message that was not is no success. 429 carries `retry_after` in
 * seconds, with fractions.
 */
export const discord: Speech = {
  hosts: ['discord.com', 'discordapp.com', 'canary.discord.com', 'ptb.discord.com'],
  mayRepeat: false,
  deliver({ title, text, link, decide }, given) {
    const url = parseTarget(given.secret('url_secret'));
    url.searchParams.set('wait', 'true');
    const head = title === undefined ? '' : `**${within(400, title, discordEscape)}**\n`;
    const tail = [
      link && `\n<${link}>`,
      decide && `\nApprove: <${decide.approve}>\nReject: <${decide.reject}>\nuntil ${inWords(decide)}`,
    ]
      .filter(Boolean)
      .join('');
    const content = `${head}${within(contentChars - head.length - tail.length, text, discordEscape)}${tail}`;
    return {
      url: url.href,
      body: JSON.stringify({ content, allowed_mentions: { parse: [] }, flags: suppressEmbeds }),
    };
  },
  wait: (answer) => numberIn(bodyOf(answer).retry_after),
  messageId: (answer) => {
    const { id } = bodyOf(answer);
    return typeof id === 'string' ? id : undefined;
  },
};
