/** What the server's own statistics say. Reads catalogs and views that every role may read. */
import { Client, type ClientConfig } from 'pg';
import { z } from 'zod';
import { fromDatabase } from '../../supabase/client/errors.js';

const Vitals = z.object({
  server: z.string(),
  major: z.number(),
  /** Seconds; null when no transaction but ours is open, as far as this role may see. */
  oldest_seconds: z.number().nullable(),
  oldest_pid: z.number().nullable(),
  oldest_state: z.string().nullable(),
  tables: z.array(z.object({ name: z.string(), live: z.number(), dead: z.number() })),
});
export type Vitals = z.output<typeof Vitals> & {
  /** Milliseconds that the server's clock is ahead of this host's. */
  clockAheadMs: number;
  /** A notification came back within two seconds. */
  hears: boolean;
};

const hearMs = 2_000;

const query = `
  select current_setting('server_version') as server, current_setting('server_version_num')::integer / 10000 as major,
    extract(epoch from now() - o.xact_start)::float8 as oldest_seconds, o.pid as oldest_pid, o.state as oldest_state,
    (select coalesce(jsonb_agg(jsonb_build_object('name', t.relname, 'live', t.n_live_tup, 'dead', t.n_dead_tup) order by t.n_dead_tup desc), '[]')
     from pg_catalog.pg_stat_user_tables t where t.schemaname = 'public' and t.relname like 'ops\\_%') as tables
  from (select) one left join lateral (
    select a.xact_start, a.pid, a.state from pg_catalog.pg_stat_activity a
    where a.xact_start is not null and a.backend_type = 'client backend' and a.pid <> pg_catalog.pg_backend_pid()
    order by a.xact_start limit 1) o on true`;

/** On a connection of its own, so that what it hears is its own. Throws `OPS_001`. */
export async function readVitals(config: ClientConfig): Promise<Vitals> {
  const client = new Client({ connectionTimeoutMillis: 5_000, ...config });
  client.on('error', () => {});
  try {
    await client.connect();
    const clockAheadMs = await clockOf(client);
    const { rows } = await client.query(query);
    return { ...Vitals.parse(rows[0]), clockAheadMs, hears: await hears(client) };
  } catch (error) {
    throw fromDatabase(error);
  } finally {
    await client.end().catch(() => {});
  }
}

/** The server read its clock between the two readings of ours, about half way. */
async function clockOf(client: Client): Promise<number> {
  const before = Date.now();
  const { rows } = await client.query('select extract(epoch from clock_timestamp())::float8 * 1000 as ms');
  return Number(rows[0]?.ms) - (before + Date.now()) / 2;
}

/** A pooler that changes connections between statements loses what is listened to. */
async function hears(client: Client): Promise<boolean> {
  const channel = `ops_doctor_${process.pid}`;
  const heard = new Promise<boolean>((resolve) => {
    client.once('notification', () => resolve(true));
    setTimeout(() => resolve(false), hearMs).unref();
  });
  await client.query(`listen ${channel}`);
  await client.query(`notify ${channel}`);
  return heard;
}
