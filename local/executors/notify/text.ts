/**
 * Text of events on its way into a chat: it may say anything, and do nothing. Pure. What would ping somebody, hide a
 * link behind other words or change the look is taken apart, character by character, so that cutting to a length never
 * cuts an escape in half.
 */

/** Drops what nobody sees: controls, bidi and zero-width characters, tags; halves of surrogate pairs; keeps newlines. */
export const plain = (text: string): string =>
  text
    .replaceAll(/\r\n?/g, '\n')
    .replaceAll(/(?!\n)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '')
    .trim();

export type Escape = (character: string) => string;

const asIs: Escape = (character) => character;

/** Slack reads `<…>` as mention or link, and `&` begins an entity (docs.slack.dev, "Formatting message text"). */
export const slackEscape: Escape = (character) =>
  ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[character] ?? character;

/** A word joiner: invisible, and an end to any name that begins with `@`. */
const joiner = '\u2060';

/** Discord's Markdown; a backslash in front of any punctuation makes it plain. `@everyone` needs more than that. */
export const discordEscape: Escape = (character) =>
  character === '@' ? `@${joiner}` : /[\\*_~`|>#\-[\]()<]/.test(character) ? `\\${character}` : character;

/** Sent without a parse mode Telegram formats nothing, but it finds `@names` and notifies them. */
export const telegramEscape: Escape = (character) => (character === '@' ? `@${joiner}` : character);

/** The cleaned and escaped text in at most `limit` UTF-16 units; one that is cut ends with an ellipsis. */
export function within(limit: number, text: string, escaped: Escape = asIs): string {
  const pieces = Array.from(plain(text) || '(empty)', escaped);
  const whole = pieces.join('');
  if (whole.length <= limit) return whole;
  let cut = '';
  for (const piece of pieces) {
    if (cut.length + piece.length >= limit) break;
    cut += piece;
  }
  return `${cut}…`;
}
