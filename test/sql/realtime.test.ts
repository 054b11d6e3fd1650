/** Supabase's publication for Realtime: which tables are in it, who would get rows, and that nothing happens without it. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { migrate } from '../../local/migrations.js';
import { useDatabase } from '../support/database.js';

const db = useDatabase({ content: 'empty' });
const fileOf = (folder: string): string =>
  readFileSync(new URL(`../../supabase/${folder}/0021_ops_realtime.sql`, import.meta.url), 'utf8');
const published = async (): Promise<string[]> =>
  (
    await db.sql<{ name: string }>(
      "select tablename::text as name from pg_publication_tables where pubname = 'supabase_realtime' order by 1",
    )
  ).map(({ name }) => name);

const shown = [
  'ops_agent_events',
  'ops_agent_reactions',
  'ops_demand_radar',
  'ops_heartbeats',
  'ops_mission_proposals',
  'ops_mission_steps',
  'ops_missions',
  'ops_policy',
  'ops_step_dead_letters',
];

beforeAll(async () => {
  await db.sql('create table theirs (n integer primary key)');
  await migrate(db.url);
});

test('without the publication there is none afterwards', async () => {
  expect(await published()).toEqual([]);
  expect(await db.one('select ops_publish_changes() as added')).toEqual({ added: [] });
});

test('what a dashboard shows is added once, beside what is there, and taken back by the rollback', async () => {
  await db.sql('create publication supabase_realtime for table theirs');
  await db.sql(fileOf('migrations'));
  expect(await published()).toEqual([...shown, 'theirs']);
  await db.sql(fileOf('migrations'));
  expect(await db.one('select ops_publish_changes() as added')).toEqual({ added: [] });
  await db.sql(fileOf('rollbacks'));
  await db.sql(fileOf('rollbacks'));
  expect(await published()).toEqual(['theirs']);
  await migrate(db.url);
  expect(await published()).toEqual([...shown, 'theirs']);
});

test('published rows stay closed to anon and authenticated, and every published table can be updated', async () => {
  const tables = await db.sql<{ open: boolean; secured: boolean; identity: string; keyed: boolean }>(`
    select has_table_privilege('anon', c.oid, 'select') or has_table_privilege('authenticated', c.oid, 'select') as open,
      c.relrowsecurity and c.relforcerowsecurity as secured, c.relreplident as identity,
      exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary) as keyed
    from pg_class c where c.relname = any ('{${shown.join(',')}}')`);
  expect(tables).toEqual(shown.map(() => ({ open: false, secured: true, identity: 'd', keyed: true })));
  await db.sql(
    "insert into ops_policy (key, value) values ('switches', '{}'); update ops_policy set value = value",
  );
});

test('a publication of all tables is left as it is, also by the rollback', async () => {
  await db.sql('drop publication supabase_realtime; create publication supabase_realtime for all tables');
  await db.sql(fileOf('migrations'));
  await db.sql(fileOf('rollbacks'));
  expect(await published()).toContain('ops_missions');
  await migrate(db.url);
});

describe('on a database of a plain owner', () => {
  const plain = useDatabase({ content: 'empty', asOwner: true });

  test("somebody else's publication is left to them, and the migrations go on", async () => {
    const admin = await plain.connect(plain.adminUrl);
    await admin.query('create publication supabase_realtime');
    await migrate(plain.url);
    await expect(plain.sql('select ops_publish_changes()')).rejects.toMatchObject({ code: '42501' });
    expect((await admin.query('select from pg_publication_tables')).rowCount).toBe(0);
    await admin.query('select ops_publish_changes()');
    expect((await admin.query('select from pg_publication_tables')).rowCount).toBe(shown.length);
  });
});
