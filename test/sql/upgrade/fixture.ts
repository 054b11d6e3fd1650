/** Data of a database as SQL text: written from a real one, and loaded into another of the same or a later version. */
import type { Sql } from '../../support/database.js';

/** What migrations write themselves. */
const written = ['ops_migrations', 'ops_schemas'];

const tablesQuery = `
  select c.relname as name, array_agg(quote_ident(a.attname) order by a.attnum) as columns
  from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  where c.relnamespace = 'public'::regnamespace and c.relname like 'ops\\_%' and c.relkind = 'r' and c.relname <> all ($1)
  group by c.relname order by c.relname`;

/** One insert per table, one row per line, columns by name: a column that a later version adds takes its default. */
export async function writeFixture(sql: Sql): Promise<string> {
  const [head] = await sql<{ version: string; at: string }>(
    'select ops_schema_version() as version, now()::text as at',
  );
  const lines = [
    `-- A database in mid-flight at schema version ${head?.version}, written by test/sql/upgrade/write.ts.`,
    '-- Loaded by test/sql/upgrade.test.ts, which moves its times to today. Never edit.',
    `create temporary table fixture_made as select '${head?.at}'::timestamptz as at;`,
  ];
  for (const { name, columns } of await sql<{ name: string; columns: string[] }>(tablesQuery, [written])) {
    const rows = await sql<{ row: string }>(
      `select to_jsonb(t)::text as row from public.${name} t order by to_jsonb(t)::text`,
    );
    if (rows.length === 0) continue;
    const list = columns.join(', ');
    lines.push(
      `insert into public.${name} (${list}) select ${list} from jsonb_populate_recordset(null::public.${name}, $fixture$[`,
      rows.map(({ row }) => row).join(',\n'),
      ']$fixture$) on conflict do nothing;',
    );
  }
  return `${lines.join('\n')}\n`;
}

/** Every time in every table. A far past or future that means "at once" or "never" stays as it is. */
const shiftTimes = `
do $$
declare
  v_column record;
  v_shift interval := now() - (select at from fixture_made);
begin
  for v_column in
    select c.relname as name, a.attname as column from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = 'public'::regnamespace and c.relname like 'ops\\_%' and c.relkind = 'r' and a.atttypid = 'timestamptz'::regtype
      and c.relname <> 'ops_migrations'
  loop
    execute format('update public.%I set %2$I = %2$I + $1 where isfinite(%2$I)', v_column.name, v_column.column) using v_shift;
  end loop;
end $$;`;

/** As one transaction with triggers off, as a restored backup comes in. The connection must be a superuser's. */
export async function loadFixture(sql: Sql, fixture: string): Promise<void> {
  await sql(
    `begin; set local session_replication_role = replica; ${fixture} ${shiftTimes} drop table fixture_made; commit;`,
  );
}
