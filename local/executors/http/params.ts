/** What a step says about its call, and what it gets back. */
import { z } from 'zod';

/** Kept of an answer: enough for any API page, and below what a result may hold. */
export const keepBytes = 512 * 1024;

/** A secret by the name of its variable; `scheme` stands before the value, as in `Bearer <value>`. */
const Reference = z.strictObject({
  secret: z.string().max(200),
  scheme: z
    .string()
    .max(40)
    .regex(/^[A-Za-z0-9_-]+$/)
    .optional(),
});
const headerName = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9_-]+$/)
  .describe('the name of a header such as "x-api-version"');

export const Params = z
  .strictObject({
    method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']).optional(),
    url: z.string().min(1).max(8_000),
    /** Joined to the URL's own query, encoded: the way for values that come from events. */
    query: z
      .record(z.string().min(1).max(200), z.union([z.string().max(4_000), z.number(), z.boolean()]))
      .optional(),
    headers: z.record(headerName, z.union([z.string().max(8_000), Reference])).optional(),
    body: z.string().max(keepBytes).optional(),
    /** Params come out of jsonb, so whatever stands here is JSON. */
    json: z.unknown().optional(),
    /** Statuses that are a success; without it 200 to 299. */
    expect: z.array(z.int().min(200).max(599)).min(1).max(50).optional(),
    timeout_seconds: z.number().positive().max(600).optional(),
    /** What to keep of the answer's body. */
    save: z.enum(['json', 'text']).optional(),
    /** Whether the call may be made twice: its receiver honours Idempotency-Key, or it does no harm. */
    idempotent: z.boolean().optional(),
  })
  .refine(({ body, json }) => body === undefined || json === undefined, 'give body or json, not both')
  .refine(
    ({ method = 'GET', body, json }) =>
      (body === undefined && json === undefined) || !['GET', 'HEAD'].includes(method),
    'GET and HEAD have no body',
  );
export type Params = z.output<typeof Params>;

export const Result = z.object({
  status: z.int(),
  /** Where the answer came from, without query: that of a redirect may hold a signature. */
  url: z.string(),
  redirects: z.int(),
  headers: z.record(z.string(), z.string()),
  bytes: z.int(),
  /** The body was longer than what is kept. */
  truncated: z.boolean(),
  body: z.unknown().optional(),
});

/** Headers of an answer that steps have a use for. */
export const keptHeaders = ['content-type', 'etag', 'last-modified', 'link', 'x-request-id'];
