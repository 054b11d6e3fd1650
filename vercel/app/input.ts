/** Input at the edge: parsed once, typed inside. What several routes take stands here. */
import { z } from 'zod';
import { OpsError } from '../../supabase/client/errors.js';

/** Throws `OPS_011` with one issue per wrong member. */
export function checkInput<T>(schema: z.ZodType<T>, input: unknown): T {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw new OpsError('OPS_011', 'the input has wrong members', {
    hint: 'Correct what `errors` points at and send it again.',
    detail: parsed.error.issues,
  });
}

/**
 * What stands in an address, its path or its query. PostgreSQL's text has every character but U+0000 (manual, 8.3), so
 * a text with one is refused here, in our words. Throws `OPS_011` as `checkInput` does.
 */
export function checkAddress<T>(schema: z.ZodType<T>, given: Record<string, string>): T {
  const broken = Object.keys(given).filter((name) => given[name]?.includes('\0'));
  if (broken.length === 0) return checkInput(schema, given);
  throw new OpsError('OPS_011', 'the address holds the character U+0000', {
    hint: 'Take %00 out of what `errors` points at and send it again.',
    detail: broken.map((name) => ({ path: [name], message: 'holds U+0000, which no text has' })),
  });
}

/** A time that the database can tell too: from the year 1 on, and no zone beyond 15:59 (PostgreSQL manual, B.4 and 8.5). */
export const time = z.iso
  .datetime({ offset: true })
  .refine((text) => !/^0000|[+-](1[6-9]|2\d):\d\d$/.test(text), 'is no time that the database can tell');

export const Id = z.strictObject({ id: z.uuid() });
/** A member that names who acts is refused, so that nobody believes it was heard. */
export const fromKey = z
  .never({ error: 'is not taken from the body: it is the label of the key' })
  .optional();
export const reason = z.string().max(2_000).optional();
/** The body of a verb that needs nothing but may say why. */
export const Why = z.strictObject({ reason, actor: fromKey });
/** What such a verb on one row takes. */
export const verb = { params: Id, body: Why, bodyMayBeEmpty: true } as const;

export const limit = z.coerce.number().int().min(1).max(500).default(50);
/** `next_cursor` of the page before. */
export const cursor = z.string().max(200).optional();

/** The query of a list by time: its own filters, `limit`, and `before`, the `next_before` of the page before. */
export const pageOf = <F extends z.core.$ZodLooseShape>(filters: F) =>
  z.strictObject({ ...filters, limit, before: time.optional() });

/** The cursor of the next page by time, or null when this page was not full. */
export function nextBefore(rows: { created_at: string }[], most: number): string | null {
  return rows.length < most ? null : (rows.at(-1)?.created_at ?? null);
}

/** The cursor of the next page, or null when this page was not full. */
export const nextCursor = (rows: { cursor: string }[], most: number): string | null =>
  rows.length < most ? null : (rows.at(-1)?.cursor ?? null);

/** `{reason}` as the engine keeps it: nobody's name is in its row, so the words say who it was. */
export const signedReason = (actor: string, why: string | undefined): { reason: string } => ({
  reason: why === undefined || why === '' ? `by ${actor}` : `${why} (by ${actor})`,
});
