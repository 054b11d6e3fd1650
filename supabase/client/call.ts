/**
 * How one SQL function is described to TypeScript: its name, its named parameters with their SQL types, and the
 * shape it answers. `port.ts` lists all of them; adapters only have to send a name and its arguments.
 */
import { z } from 'zod';

export type Param<T> = { sql: string; schema: z.ZodType<T>; optional: boolean };
type Params = Record<string, Param<unknown>>;

export type Shape<R> =
  | { kind: 'rows'; schema: z.ZodType<R[]> }
  | { kind: 'row'; schema: z.ZodType<R> }
  | { kind: 'value'; schema: z.ZodType<R> };

export type Call<P extends Params, R> = { fn: string; params: P; shape: Shape<R>; returns: R };

type Required_<P extends Params> = {
  [K in keyof P as undefined extends z.output<P[K]['schema']> ? never : K]: z.output<P[K]['schema']>;
};
type Optional_<P extends Params> = {
  [K in keyof P as undefined extends z.output<P[K]['schema']> ? K : never]?: z.output<P[K]['schema']>;
};
export type Arguments<P extends Params> = Required_<P> & Optional_<P>;

/** What an adapter gets: the function, and each argument by its SQL name with its SQL type. */
export type Request = {
  fn: string;
  args: { name: string; sql: string; value: unknown }[];
  kind: Shape<unknown>['kind'];
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

/** A function that answers rows. */
export const rows = <R>(schema: z.ZodType<R>): Shape<R[]> =>
  ({ kind: 'rows', schema: z.array(schema) }) as unknown as Shape<R[]>;
/** A function that answers exactly one row. */
export const row = <R>(schema: z.ZodType<R>): Shape<R> => ({ kind: 'row', schema });
/** A function that answers one value (jsonb, text, …). */
export const value = <R>(schema: z.ZodType<R>): Shape<R> => ({ kind: 'value', schema });

// biome-ignore lint/suspicious/noExplicitAny: the parameter types are recovered by inference, `Params` would widen them
export function call<P extends Record<string, Param<any>>, R>(
  fn: string,
  params: P,
  shape: Shape<R>,
): Call<P, R> {
  return { fn, params, shape } as Call<P, R>;
}

/** `leaseSeconds` → `p_lease_seconds`, the rule that names every parameter. */
export const sqlName = (name: string): string => `p_${name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)}`;
