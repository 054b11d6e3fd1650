/**
 * How one SQL function is described to TypeScript: its name, its named parameters with their SQL types, and the
 * shape it answers. `calls/` has all of them; adapters only have to send a name and its arguments.
 */
import { z } from 'zod';

export type Param<T> = { sql: string; schema: z.ZodType<T>; optional: boolean };
type Params = Record<string, Param<unknown>>;

/** `rows`: any number of rows. `row`: exactly one. `value`: one jsonb, text, … */
export type Shape<R> = { kind: 'rows' | 'row' | 'value'; schema: z.ZodType<R>; exact?: true };

export type Call<P extends Params, R> = { fn: string; params: P; shape: Shape<R> };

type Value<P extends Param<unknown>> = z.output<P['schema']>;
type IfOptional<P extends Param<unknown>, Yes, No> = undefined extends Value<P> ? Yes : No;
export type Arguments<P extends Params> = { [K in keyof P as IfOptional<P[K], never, K>]: Value<P[K]> } & {
  [K in keyof P as IfOptional<P[K], K, never>]?: Value<P[K]>;
};

/** What an adapter gets: the function, and each argument by its SQL name with its SQL type. */
export type Request = {
  fn: string;
  args: { name: string; sql: string; value: unknown }[];
  kind: Shape<unknown>['kind'];
  /** `jsonb` of the answer is read by `parseExact`: whoever asks may write it again. */
  exact?: true;
};

function param<T>(
  sql: string,
  schema: z.ZodType<T>,
): Param<T> & { optional: false; orDefault: Param<T | undefined> } {
  return { sql, schema, optional: false, orDefault: { sql, schema: schema.optional(), optional: true } };
}

/** Parameter types by their SQL name. `.orDefault` leaves the argument out so that SQL's own default holds. */
export const arg = {
  text: param('text', z.string()),
  oneOf: <T extends string>(words: readonly T[]) => param('text', z.enum(words)),
  uuid: param('uuid', z.uuid()),
  int: param('integer', z.int()),
  bigint: param('bigint', z.int()),
  numeric: param('numeric', z.number()),
  boolean: param('boolean', z.boolean()),
  timestamp: param('timestamptz', z.iso.datetime({ offset: true })),
  texts: param('text[]', z.array(z.string())),
  uuids: param('uuid[]', z.array(z.uuid())),
  jsonb: <T>(schema: z.ZodType<T>) => param('jsonb', schema),
};

export const rows = <R>(schema: z.ZodType<R>): Shape<R[]> => ({ kind: 'rows', schema: z.array(schema) });
export const row = <R>(schema: z.ZodType<R>): Shape<R> => ({ kind: 'row', schema });
export const value = <R>(schema: z.ZodType<R>): Shape<R> => ({ kind: 'value', schema });
/** The same answer, with its numbers as the database has them. */
export const exact = <R>(shape: Shape<R>): Shape<R> => ({ ...shape, exact: true });

// biome-ignore lint/suspicious/noExplicitAny: the parameter types are recovered by inference, `Params` would widen them
export function call<P extends Record<string, Param<any>>, R>(
  fn: string,
  params: P,
  shape: Shape<R>,
): Call<P, R> {
  return { fn, params, shape };
}

/** `leaseSeconds` → `p_lease_seconds`, the rule that names every parameter. */
export const sqlName = (name: string): string => `p_${name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)}`;
