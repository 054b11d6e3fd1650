import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { dumpedMajor, dumpPath, dumpSchema } from './dump.js';

const database = useDatabase();

const serverMajor = async (): Promise<number> =>
  Number((await database.one("select current_setting('server_version_num')::int / 10000 as major")).major);

test('schema.txt is what `npm run generate` writes', async ({ skip }) => {
  skip((await serverMajor()) !== dumpedMajor, `the text is of PostgreSQL ${dumpedMajor}`);
  const stored = await readFile(dumpPath, 'utf8');
  expect(stored === (await dumpSchema(database.sql)), 'stale: run `npm run generate`').toBe(true);
});

test.each([
  ['a column', 'alter table ops_missions add column note text', /^ {2}note text$/m],
  [
    'a default',
    "alter table ops_missions alter status set default 'running'",
    /status text not null default 'running'/,
  ],
  [
    'a constraint',
    'alter table ops_missions add constraint later check (true)',
    /constraint later CHECK \(true\)/,
  ],
  ['an index', 'create index ops_extra on ops_missions (created_at)', /CREATE INDEX ops_extra/],
  ['a right', 'grant delete on ops_missions to service_role', /grant delete, select to service_role/],
  [
    'a function',
    'create function ops_extra() returns int language sql as $$ select 4711 $$',
    /select 4711 \$function\$\ngrant execute to public/,
  ],
  [
    'row-level security',
    'alter table ops_missions no force row level security',
    /^table ops_missions with \(.*\) row-level security$/m,
  ],
])('the text shows %s', async (_, change, shown) => {
  const client = await database.connect();
  await client.query('begin');
  const before = await dumpSchema(async (text) => (await client.query(text)).rows);
  expect(before).not.toMatch(shown);
  await client.query(change);
  expect(await dumpSchema(async (text) => (await client.query(text)).rows)).toMatch(shown);
  await client.query('rollback');
});
