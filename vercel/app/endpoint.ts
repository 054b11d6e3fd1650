/**
 * A handler together with what it takes and what it answers, said once: the schemas that a request is checked against
 * are the ones that `openapi.json` shows. Bodies are read within their bounds before any schema sees them.
 */
import type { z } from 'zod';
import { defaultMaxKeys, readJson, readOptionalJson } from './body.js';
import type { AppContext, AppDeps, Handler } from './deps.js';
import { checkAddress, checkInput } from './input.js';

/** An answer that is no error; without a schema it is no JSON, and without a type there is no body. */
export type Answer = { about: string; schema?: z.ZodType; type?: string };

type Schema = z.ZodType | undefined;
export type Spec<P extends Schema = Schema, Q extends Schema = Schema, B extends Schema = Schema> = {
  /** One sentence without a full stop. */
  summary: string;
  params?: P;
  query?: Q;
  /** Of `application/json`. */
  body?: B;
  /** No body at all is `{}`. */
  bodyMayBeEmpty?: true;
  /** Bodies of other types, for the document. */
  otherBodies?: Readonly<Record<string, z.ZodType>>;
  answers: Readonly<Record<number, Answer>>;
  /** Problems beside those that follow from the above, by status. */
  refuses?: readonly number[];
};

type Parsed<S extends Schema> = S extends z.ZodType ? z.output<S> : undefined;
export type Input<P extends Schema, Q extends Schema, B extends Schema> = {
  params: Parsed<P>;
  query: Parsed<Q>;
  body: Parsed<B>;
};
/** What a route of the table holds. */
export type Endpoint = Handler & { spec: Spec };

/**
 * A maker of handlers from the app's parts. Throws what reading the body throws (400, 413, 415), and `OPS_011` with a
 * pointer per wrong member, before `run` is called.
 */
export function endpoint<
  P extends Schema = undefined,
  Q extends Schema = undefined,
  B extends Schema = undefined,
>(
  spec: Spec<P, Q, B>,
  run: (c: AppContext, input: Input<P, Q, B>, deps: AppDeps) => Response | Promise<Response>,
): (deps: AppDeps) => Endpoint {
  return (deps) => described(spec, async (c) => run(c, await readInput(c, spec, deps), deps));
}

/** A handler that reads its request itself, with what there is to say about it. */
export const described = (spec: Spec, handler: Handler): Endpoint => Object.assign(handler, { spec });

async function readInput<P extends Schema, Q extends Schema, B extends Schema>(
  c: AppContext,
  { params, query, body, bodyMayBeEmpty }: Spec<P, Q, B>,
  { env }: AppDeps,
): Promise<Input<P, Q, B>> {
  const read = bodyMayBeEmpty ? readOptionalJson : readJson;
  const limits = { maxBytes: env.OPS_MAX_BODY_BYTES, maxKeys: defaultMaxKeys };
  return {
    params: checkPart(params, c.req.param(), checkAddress),
    query: checkPart(query, c.req.query(), checkAddress),
    body: checkPart(body, body === undefined ? undefined : await read(c.req.raw, limits), checkInput),
  };
}

/** What has no schema is not looked at: a stray query on a route without one harms nobody. */
const checkPart = <S extends Schema, G>(
  schema: S | undefined,
  given: G,
  check: (schema: z.ZodType, given: G) => unknown,
): Parsed<S> => (schema === undefined ? undefined : check(schema, given)) as Parsed<S>;

/** An answer in JSON. */
export const answers = (about: string, schema: z.ZodType): Answer => ({ about, schema });
export const answersText = (about: string): Answer => ({ about, type: 'text/plain' });
export const answersPage = (about: string): Answer => ({ about, type: 'text/html' });
