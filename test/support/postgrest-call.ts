/**
 * Part of the stand-in for PostgREST: one function call as a transaction, after docs.postgrest.org (Functions as RPC,
 * Transactions). Arguments come by name out of a JSON object; a missing one takes its default; functions that are not
 * volatile run read-only; the answer is JSON made by the database.
 */
import type { Pool, PoolClient } from 'pg';

export type Called = { body: string | undefined; rows?: number; total?: number };
export type Call = {
  fn: string;
  /** The request's body, digit by digit. */
  text: string;
  role: string;
  claims: Record<string, unknown>;
  maxRows: number;
  timeoutMs: number;
};

type Argument = { name: string; type: string; required: boolean };
type Signature = {
  shape: 'rows' | 'row' | 'value' | 'nothing';
  volatile: boolean;
  timeout: string | null;
  args: Argument[];
};

/** An answer of PostgREST itself. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly hint: string | null;

  constructor(status: number, code: string, message: string, hint: string | null = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

/** Trigger functions are no RPC. Inputs come first in `proargnames`. */
const signatureQuery = `
  select case when p.prorettype = 'void'::regtype then 'nothing' when p.proretset then 'rows'
      when p.prorettype = 'record'::regtype or t.typtype = 'c' then 'row' else 'value' end as shape,
    p.provolatile = 'v' as volatile,
    (select substr(c, 19) from unnest(p.proconfig) c where c like 'statement\\_timeout=%') as timeout,
    coalesce((select jsonb_agg(jsonb_build_object('name', a.name, 'type', format_type(a.type, null), 'required', a.n <= p.pronargs - p.pronargdefaults) order by a.n)
      from unnest(p.proargtypes::oid[], p.proargnames) with ordinality a(type, name, n) where a.n <= p.pronargs), '[]') as args
  from pg_proc p join pg_type t on t.oid = p.prorettype
  where p.pronamespace = 'public'::regnamespace and p.proname = $1 and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype`;

/** Looks functions up once, as PostgREST's schema cache does; one that is missing is looked for again. */
export function createCaller(pool: Pool): (call: Call) => Promise<Called> {
  const cache = new Map<string, Signature>();
  return async (call) => {
    const client = await pool.connect();
    let broken = true;
    try {
      const signature = cache.get(call.fn) ?? (await lookUp(client, call.fn));
      const given = namesIn(call.text);
      if (signature === undefined || !fits(signature, given)) {
        broken = false;
        throw notFound(call.fn, given);
      }
      cache.set(call.fn, signature);
      const called = await carryOut(client, call, signature, given);
      broken = false;
      return called;
    } catch (error) {
      broken &&= !(await rollBack(client));
      throw error;
    } finally {
      client.release(broken);
    }
  };
}

async function lookUp(client: PoolClient, fn: string): Promise<Signature | undefined> {
  const { rows } = await client.query<Signature>(signatureQuery, [fn]);
  if (rows.length > 1) throw new Refusal(300, 'PGRST203', `${fn} is overloaded`);
  return rows[0];
}

function namesIn(text: string): string[] {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new Refusal(400, 'PGRST102', 'Empty or invalid json');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new Refusal(400, 'PGRST102', 'All object keys must match');
  return Object.keys(body);
}

const fits = ({ args }: Signature, given: string[]): boolean =>
  given.every((name) => args.some((arg) => arg.name === name)) &&
  args.every(({ name, required }) => !required || given.includes(name));

const notFound = (fn: string, given: string[]): Refusal =>
  new Refusal(
    404,
    'PGRST202',
    `Could not find the function public.${fn}(${given.join(', ')}) in the schema cache`,
  );

async function carryOut(
  client: PoolClient,
  { text, role, claims, timeoutMs, fn, maxRows }: Call,
  signature: Signature,
  given: string[],
): Promise<Called> {
  // The connection is a superuser's; in this transaction it is the login that PostgREST has.
  const timeout = signature.timeout ?? `${timeoutMs}ms`;
  await client.query(`begin read ${signature.volatile ? 'write' : 'only'};
    set local session authorization authenticator; set local role ${client.escapeIdentifier(role)};
    select set_config('request.jwt.claims', ${client.escapeLiteral(JSON.stringify(claims))}, true),
      set_config('search_path', 'public, extensions', true), set_config('timezone', 'UTC', true),
      set_config('statement_timeout', ${client.escapeLiteral(timeout)}, true)`);
  const { rows } = await client.query(statement(fn, signature, given, maxRows), [text]);
  await client.query('commit');
  return signature.shape === 'nothing' ? { body: undefined } : rows[0];
}

function statement(fn: string, { shape, args }: Signature, given: string[], maxRows: number): string {
  const named = args.filter(({ name }) => given.includes(name));
  const types = named.map(({ name, type }) => `"${name}" ${type}`).join(', ');
  const payload = named.length === 0 ? '(select $1::json) as a' : `json_to_record($1::json) as a(${types})`;
  const call = `public."${fn}"(${named.map(({ name }) => `"${name}" => a."${name}"`).join(', ')})`;
  if (shape === 'rows')
    return `with source as materialized (select c.* from ${payload}, lateral ${call} c)
      select coalesce(json_agg(page), '[]')::text as body, count(page)::int as rows, (select count(*)::int from source) as total
      from (select * from source limit ${maxRows}) page`;
  if (shape === 'row') return `select to_json(c)::text as body from ${payload}, lateral ${call} c`;
  return `select coalesce(to_json(c.v), 'null')::text as body from ${payload}, lateral (select ${call} as v) c`;
}

/** Whether the connection can be used again. */
async function rollBack(client: PoolClient): Promise<boolean> {
  return await client.query('rollback').then(
    () => true,
    () => false,
  );
}
