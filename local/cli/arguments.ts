/** Readers of command-line arguments. What they refuse is a usage error (exit code 2). */
import { text as readAll } from 'node:stream/consumers';
import { InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { JsonText } from '../../supabase/client/json-text.js';
import { usageError } from './context.js';
import { readText } from './files.js';

/** A full uuid: short forms are not looked up, so that no command ever acts on another row than the one meant. */
export function id(given: string): string {
  if (z.uuid().safeParse(given).success) return given.toLowerCase();
  throw new InvalidArgumentError('An id is a full uuid such as 0f8b1c2e-…; short forms are not supported.');
}

export function wholeNumber(given: string): number {
  if (/^\d{1,9}$/.test(given)) return Number(given);
  throw new InvalidArgumentError('It must be a whole number.');
}

export function positiveNumber(given: string): number {
  const number = Number(given);
  if (given.trim() !== '' && Number.isFinite(number) && number > 0) return number;
  throw new InvalidArgumentError('It must be a number above 0.');
}

export const numberBetween =
  (least: number, most: number) =>
  (given: string): number => {
    const number = Number(given);
    if (given.trim() !== '' && number >= least && number <= most) return number;
    throw new InvalidArgumentError(`It must be a number from ${least} to ${most}.`);
  };

const unitMs = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;

/** A day, which begins in UTC, or a time with its zone: nothing that is read otherwise on another machine. */
const isoTime = z.union([
  z.iso.date(),
  z.iso.datetime({ offset: true }),
  // Without seconds.
  z.iso.datetime({ offset: true, precision: -1 }),
]);

/** A time: `30m`, `12h`, `7d`, `2w` before now, or an ISO time. A number alone says neither. */
export function ago(given: string): Date {
  const [, count, unit] = /^(\d{1,6})([mhdw])$/.exec(given) ?? [];
  const time =
    unit === undefined
      ? new Date(isoTime.safeParse(given).success ? given : Number.NaN)
      : new Date(Date.now() - Number(count) * unitMs[unit as keyof typeof unitMs]);
  // The database knows no year 0 and writes those beyond 9999 otherwise than ISO 8601 does.
  if (time.getUTCFullYear() >= 1 && time.getUTCFullYear() <= 9999) return time;
  const unitless = /^\d{1,4}$/.test(given)
    ? ` ${given} of what? Say ${given}d for days, ${given}h for hours.`
    : '';
  throw new InvalidArgumentError(
    `Write 30m, 12h, 7d or 2w, a day such as 2026-03-01, or a time such as 2026-03-01T09:00:00Z.${unitless}`,
  );
}

/** `a,b` as a list of names. */
export const nameList = (given: string): string[] =>
  given
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');

export const Document = z.record(z.string(), z.json());

/** JSON given in place, as `@file`, or as `-` for stdin. `what` names it in messages. */
export async function readJson(given: string, what: string): Promise<unknown> {
  return parseJson(await readGiven(given), what, jsonHint);
}

const jsonHint = 'Give JSON in single quotes, @file, or - for stdin: --data \'{"a":1}\'.';

/** The text itself, which `-` and `@file` stand for. */
export async function readGiven(given: string): Promise<string> {
  if (given === '-') return readAll(process.stdin);
  return given.startsWith('@') ? readText(given.slice(1)) : given;
}

/** Throws a usage error for what is no JSON, or holds what the database's `jsonb` cannot (PostgreSQL manual, 8.14). */
export function parseJson(source: string, what: string, hint?: string): unknown {
  let parsed: unknown;
  try {
    parsed = JSON.parse(source);
  } catch (error) {
    throw usageError(`${what} is not JSON: ${error instanceof Error ? error.message : error}`, hint);
  }
  // Half of a pair or U+0000 comes by an escape, and JSON.stringify writes both so again, in lower case.
  if (/\\u/.test(source) && /(?<!\\)(\\\\)*\\u(0000|d[89a-f])/.test(JSON.stringify(parsed)))
    throw usageError(
      `${what} holds a character that the database cannot store: U+0000, or half of a surrogate pair`,
      'Take it out, or write \\ufffd in its place.',
    );
  return parsed;
}

/** The same, and it must be an object. */
export async function readDocument(given: string, what: string): Promise<z.infer<typeof Document>> {
  return checkDocument(await readJson(given, what), what);
}

function checkDocument(value: unknown, what: string): z.infer<typeof Document> {
  const parsed = Document.safeParse(value);
  if (parsed.success) return parsed.data;
  throw usageError(`${what} must be a JSON object`);
}

/** The same in the words it was given in, so that no number of it is rounded. */
export async function readExactDocument(given: string, what: string): Promise<JsonText> {
  const text = await readGiven(given);
  checkDocument(parseJson(text, what, jsonHint), what);
  return new JsonText(text);
}
