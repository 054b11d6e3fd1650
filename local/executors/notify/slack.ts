import { inWords, type Speech } from './message.js';
import { slackEscape, within } from './text.js';

/** Characters of a header block and of a text block (docs.slack.dev, Block Kit reference). */
const headerChars = 150;
const blockChars = 3_000;

/**
 * An incoming webhook (docs.slack.dev, "Sending messages using incoming webhooks"). What came from events stands in
 * `plain_text` blocks, where nothing is read as markup; only our own links are `mrkdwn`. Answers 200 `ok`, or a word for
 * what is wrong; 429 with Retry-After above about one message a second.
 */
export const slack: Speech = {
  hosts: ['hooks.slack.com', 'hooks.slack-gov.com'],
  mayRepeat: false,
  deliver({ title, text, link, decide }, given) {
    const blocks = [
      title && { type: 'header', text: plainText(title, headerChars) },
      { type: 'section', text: plainText(text, blockChars) },
      link && section(`<${shown(link)}>`),
      decide &&
        section(`<${decide.approve}|Approve>   ·   <${decide.reject}|Reject>   ·   until ${inWords(decide)}`),
    ].filter(Boolean);
    return {
      url: given.secret('url_secret'),
      body: JSON.stringify({
        // What notifications and old clients show.
        text: within(blockChars, title ?? text, slackEscape),
        mrkdwn: false,
        blocks,
        unfurl_links: false,
        unfurl_media: false,
      }),
    };
  },
};

const plainText = (text: string, limit: number) => ({
  type: 'plain_text',
  text: within(limit, text),
  emoji: false,
});

const section = (text: string) => ({ type: 'section', text: { type: 'mrkdwn', text, verbatim: true } });

/** Behind a `|` stands what is shown instead of an address; the rest is escaped as text is. */
const shown = (url: string): string => Array.from(url.replaceAll('|', '%7C'), slackEscape).join('');
