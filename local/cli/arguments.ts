/** Readers of command-line arguments. What they refuse is a usage error (exit code 2). */
import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { usageError } from './context.js';

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

/** A time: `30m`, `12h`, `7d`, `2w` before now, or an ISO time. */
export function ago(given: string): Date {
  const [, count, unit] = /^(\d{1,6})([mhdw])$/.exec(given) ?? [];
  const time =
    unit === undefined
      ? new Date(given)
      : new Date(Date.now() - Number(count) * unitMs[unit as keyof typeof unitMs]);
  if (!Number.isNaN(time.getTime())) return time;
  throw new InvalidArgumentError('Write 30m, 12h, 7d or 2w, or a time such as 2026-03-01T09:00:00Z.');
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
  const source =
    given === '-'
      ? await readAll(process.stdin)
      : given.startsWith('@')
        ? await fileText(given.slice(1))
        : given;
  try {
    return JSON.parse(source);
  } catch (error) {
    throw usageError(
      `${what} is not JSON: ${error instanceof Error ? error.message : error}`,
      'Give JSON in single quotes, @file, or - for stdin: --data \'{"a":1}\'.',
    );
  }
}

/** The same, and it must be an object. */
export async function readDocument(given: string, what: string): Promise<z.infer<typeof Document>> {
  const parsed = Document.safeParse(await readJson(given, what));
  if (parsed.success) return parsed.data;
  throw usageError(`${what} must be a JSON object`);
}

async function fileText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    throw usageError(
      `cannot read the file ${path}`,
      'Check the path; it is relative to the directory you are in.',
    );
  }
}
