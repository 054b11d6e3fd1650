import type { Sql } from './database.js';

/** `shift`: an interval added to the real time. `at`: time stands still there. `real`: as in production. */
export type ClockSetting = { shift: string } | { at: Date | string } | 'real';

// In a schema of its own, so that checks over `public` see the shipped objects only. Readable by every role,
// because functions that run with the caller's rights ask for the time too.
const install = `
create schema if not exists ops_test;
create table if not exists ops_test.clock (shift interval not null default '0', fixed_at timestamptz);
insert into ops_test.clock select where not exists (select from ops_test.clock);
grant usage on schema ops_test to public;
grant select on ops_test.clock to public;
create or replace function public.ops_clock() returns timestamptz
language sql volatile set search_path = ''
as $$ select coalesce(c.fixed_at, pg_catalog.clock_timestamp()) + c.shift from ops_test.clock as c $$;
`;

/** Sets the clock of a test database, for every session at once; `ops_clock()` is replaced at the first call. */
export async function setClock(sql: Sql, setting: ClockSetting): Promise<void> {
  await sql(install);
  const shift = typeof setting === 'object' && 'shift' in setting ? setting.shift : '0';
  const fixedAt = typeof setting === 'object' && 'at' in setting ? setting.at : null;
  await sql('update ops_test.clock set shift = $1, fixed_at = $2', [shift, fixedAt]);
}

/** Moves the clock forward by an interval, whether it runs or stands. */
export async function advanceClock(sql: Sql, by: string): Promise<void> {
  await sql(install);
  await sql('update ops_test.clock set shift = shift + $1::interval', [by]);
}
