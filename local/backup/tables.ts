/** Which tables a backup is made of, as the catalog has them. */
import type { Client } from 'pg';
import { z } from 'zod';

/**
 * Belongs to the schema (migrations bring it), or to who is alive right now: workers, open sessions, rates, breakers, and
 * how far spans have been exported. After a restore each of them begins anew.
 */
export const leftOut: ReadonlySet<string> = new Set([
  'ops_migrations',
  'ops_schemas',
  'ops_workers',
  'ops_wakeups',
  'ops_sessions',
  'ops_rates',
  'ops_llm_breakers',
  'ops_span_cursor',
]);

/** Present after every migration and seed: a restore puts the backup's rows in the place of these. */
export const installed: ReadonlySet<string> = new Set([
  'ops_policy',
  'ops_policy_history',
  'ops_policy_patterns',
  'ops_executors',
]);

const Column = z.object({ name: z.string(), quoted: z.string(), type: z.string() });
const Table = z.object({
  name: z.string(),
  /** With its schema, quoted, for statements. */
  quoted: z.string(),
  columns: z.array(Column),
  /** May this role see and write every row? */
  owned: z.boolean(),
  /** By the latest ANALYZE; 0 when there was none. */
  estimate: z.number(),
});
export type Table = z.output<typeof Table>;

/** Every table of the loop that is not left out, by name; with those that operators made of the same prefix. */
export async function listTables(client: Client): Promise<Table[]> {
  const { rows } = await client.query(`
    select c.relname as name, format('public.%I', c.relname) as quoted, greatest(c.reltuples, 0)::float8 as estimate,
      pg_catalog.pg_has_role(c.relowner, 'usage') as owned,
      jsonb_agg(jsonb_build_object('name', a.attname, 'quoted', quote_ident(a.attname), 'type', pg_catalog.format_type(a.atttypid, a.atttypmod)) order by a.attnum) as columns
    from pg_catalog.pg_class c join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    where c.relnamespace = 'public'::regnamespace and c.relname like 'ops\\_%' and c.relkind = 'r'
    group by c.oid, c.relname, c.reltuples, c.relowner order by c.relname`);
  return z.array(Table).parse(rows.filter(({ name }) => !leftOut.has(name)));
}

export const columnList = (columns: readonly { quoted: string }[]): string =>
  columns.map(({ quoted }) => quoted).join(', ');

/** What makes COPY's text the same on every server, and lets it take its time. Local to the transaction. */
export async function settle(client: Client): Promise<void> {
  const settings = {
    ...{ statement_timeout: '0', idle_in_transaction_session_timeout: '0', lock_timeout: '10s' },
    ...{ datestyle: 'ISO', intervalstyle: 'postgres', timezone: 'UTC', extra_float_digits: '1' },
    client_encoding: 'UTF8',
  };
  for (const [name, value] of Object.entries(settings))
    await client.query('select pg_catalog.set_config($1, $2, true)', [name, value]);
}
