/** Input at the edge: parsed once, typed inside. */
import { z } from 'zod';
import { OpsError } from '../../supabase/client/errors.js';
import type { AppContext } from './deps.js';

/** Throws `OPS_011` with one issue per wrong member. */
export function checkInput<T>(schema: z.ZodType<T>, input: unknown): T {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw new OpsError('OPS_011', 'the input has wrong members', {
    hint: 'Correct what `errors` points at and send it again.',
    detail: parsed.error.issues,
  });
}

const pageQuery = {
  limit: z.coerce.number().int().min(1).max(500).default(50),
  /** Only rows created before this instant; the last row's `created_at` is the next page's cursor. */
  before: z.iso.datetime({ offset: true }).optional(),
};

/** The query of a list: `limit`, `before`, and the one filter it has. */
export function listQuery<T extends string>(c: AppContext, filter: string, values: readonly [T, ...T[]]) {
  const schema = z.strictObject({ ...pageQuery, [filter]: z.enum(values).optional() });
  const { limit, before, ...rest } = checkInput(schema, c.req.query());
  return { limit, ...(before === undefined ? {} : { before }), ...rest } as {
    limit: number;
    before?: string;
  } & Record<string, string>;
}

/** The cursor of the next page, or null when this page was not full. */
export function nextBefore(rows: { created_at: string }[], limit: number): string | null {
  return rows.length < limit ? null : (rows.at(-1)?.created_at ?? null);
}
