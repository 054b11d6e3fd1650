/**
 * Numbers that JavaScript would round: an integer beyond 2^53, or a decimal of more than 15 digits. A body that has one
 * goes to the database in the words it came in. Whatever reads it there by SQL sees each digit; what reads it as a
 * JavaScript number still rounds, so an id is better sent as text.
 */
import { endOfString, JsonText, numbersIn } from '../../supabase/client/json-text.js';
import { hasUnstorable } from './body.js';

/**
 * Longer ones, and those with an exponent, are rounded as ever: of `1e-16000` PostgreSQL would write out every zero,
 * thousands of times what was sent.
 */
const storable = /^-?\d{1,40}(\.\d{1,40})?$/;
/** A double holds every decimal of so many digits (IEEE 754 binary64). */
const exactDigits = 15;

/** The words of a valid JSON text, if something in it would be rounded and it can be stored as it stands. */
export function exactText(text: string): JsonText | undefined {
  if (!/[\d.]{16}/.test(text) || hasUnstorable(text)) return undefined;
  const numbers = Array.from(numbersIn(text), ({ number }) => number);
  const rounds = numbers.some((number) => number.replace(/^-?0*\.?0*|\./g, '').length > exactDigits);
  return rounds && numbers.every((number) => storable.test(number)) ? new JsonText(text) : undefined;
}

/** The members of an object, or the items of a list, in their own words. The text is one of the two, and valid. */
export function partsOf(text: string): [key: string, text: string][] {
  const parts: [string, string][] = [];
  let key = '';
  let depth = 0;
  let start = text.search(/[[{]/) + 1;
  const end = (i: number): void => {
    const part = text.slice(start, i).trim();
    if (part !== '') parts.push([key, part]);
    start = i + 1;
  };
  for (let i = start; i < text.length; i++) {
    const char = text[i];
    if (char === '"') i = endOfString(text, i);
    else if (char === '{' || char === '[') depth++;
    else if (depth > 0) depth -= char === '}' || char === ']' ? 1 : 0;
    else if (char === ':') {
      key = JSON.parse(text.slice(start, i));
      start = i + 1;
    } else if (char === ',' || char === '}' || char === ']') end(i);
  }
  return parts;
}

/** One member in its own words; of several with the name the last, as for `JSON.parse`. */
export const memberOf = (text: string, name: string): string | undefined =>
  partsOf(text).findLast(([key]) => key === name)?.[1];
