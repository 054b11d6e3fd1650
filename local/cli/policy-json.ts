/** JSON of policies: every number keeps the digits that it was written with, from a file or an argument to the database. */
import { OpsError } from '../../supabase/client/errors.js';
import { type ExactJson, JsonText, parseExact } from '../../supabase/client/json-text.js';
import { parseJson, readGiven } from './arguments.js';
import { readText } from './files.js';

/** Digits of a `numeric` before and after the point, which is what `jsonb` stores (PostgreSQL manual, 8.1.2). */
const mostDigits = { before: 131_072, after: 16_383 };

/** The same `given` as `readJson`: JSON in place, `@file`, or `-`. */
export const readPolicyJson = async (given: string, what: string): Promise<ExactJson> =>
  parsePolicyJson(await readGiven(given), what);

export const readPolicyFile = async (path: string): Promise<ExactJson> =>
  parsePolicyJson(await readText(path), path);

/** Throws a usage error for what is no JSON, and `OPS_008` with its path for a number that the database cannot store. */
export function parsePolicyJson(text: string, what: string): ExactJson {
  parseJson(text, what, 'Give JSON in single quotes, @file, or - for stdin.');
  const value = parseExact(text);
  const path = unstorable(value, '$');
  if (path === undefined) return value;
  throw new OpsError('OPS_008', `${what}: ${path} is a number that the database cannot store`, {
    hint: `Write at most ${mostDigits.before} digits before the point and ${mostDigits.after} after it, or put it in quotes.`,
    detail: { path },
  });
}

/** Where the first number stands that is out of bounds. */
function unstorable(value: ExactJson, path: string): string | undefined {
  if (value instanceof JsonText) return fits(value.text) ? undefined : path;
  if (typeof value !== 'object' || value === null) return undefined;
  const isList = Array.isArray(value);
  for (const [name, member] of Object.entries(value)) {
    const found = unstorable(member, isList ? `${path}[${name}]` : `${path}.${name}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

function fits(number: string): boolean {
  const [, whole = '', part = '', power = '0'] = /^-?(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(number) ?? [];
  const shift = Number(power);
  return whole.length + shift <= mostDigits.before && part.length - shift <= mostDigits.after;
}
