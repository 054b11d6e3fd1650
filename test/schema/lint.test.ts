/** The rules of lint.ts over our schema, on a database as Supabase makes it and on a bare one, and each on a violation of it. */
import { describe, expect, test } from 'vitest';
import { migrate } from '../../local/migrations.js';
import { type TestDatabase, useDatabase } from '../support/database.js';
import { readable, unqualified, wholeTable } from './bodies.js';
import { type Rule, rules } from './lint.js';

const found = ({ find }: Rule, { sql }: Pick<TestDatabase, 'sql'>): Promise<string[]> => find(sql);

describe('the schema', () => {
  const db = useDatabase();

  test.each(rules.map((rule) => [rule.name, rule] as const))('holds: %s', async (_, rule) => {
    expect(await found(rule, db), rule.risk).toEqual([]);
  });
});

describe('a violation', () => {
  const db = useDatabase();

  test.each(rules.map((rule) => [rule.name, rule] as const))('is found of: %s', async (_, rule) => {
    const client = await db.connect();
    const sql = (async (text: string) => (await client.query(text)).rows) as TestDatabase['sql'];
    await client.query('begin');
    await client.query(rule.seed);
    const lines = await found(rule, { sql });
    await client.query('rollback');
    expect(lines.length).toBeGreaterThan(0);
    expect(await found(rule, db)).toEqual([]);
  });

  test('of one rule is none of the others', async () => {
    for (const rule of rules) {
      const client = await db.connect();
      const sql = (async (text: string) => (await client.query(text)).rows) as TestDatabase['sql'];
      await client.query('begin');
      await client.query(rule.seed);
      for (const other of rules.filter(({ name }) => name !== rule.name))
        expect(
          (await found(other, { sql })).filter((line) => !line.includes('lint_id')),
          `${other.name}, by the violation of: ${rule.name}`,
        ).toEqual([]);
      await client.query('rollback');
      await client.end();
    }
  });
});

/** What new Supabase projects grant on the owner's objects, and what older ones did. */
const regimes = {
  'grants nothing': 'alter default privileges revoke execute on functions from public',
  'grants everything': ['tables', 'functions', 'sequences']
    .map(
      (what) =>
        `alter default privileges in schema public grant all on ${what} to anon, authenticated, service_role`,
    )
    .join(';'),
};

describe.each(Object.entries(regimes))('on a project that by default %s', (_, statements) => {
  describe.each([
    ['a superuser', false],
    ['a plain owner', true],
  ])('and belongs to %s', (__, asOwner) => {
    const db = useDatabase({ content: 'empty', asOwner });

    test('every rule holds after the migrations, and after another run of each', async () => {
      await db.sql(statements);
      for (const force of [false, true]) {
        await migrate(db.url, { force });
        for (const rule of rules) expect(await found(rule, db), rule.name).toEqual([]);
      }
    });

    test('a function made later is open to nobody once migrate ran', async () => {
      await db.sql(
        "create function public.ops_later() returns integer language sql set search_path = '' as 'select 1'; create table public.ops_later_table (n integer primary key)",
      );
      await migrate(db.url);
      const open = await db.sql(`
        select r.role from unnest(array['anon', 'authenticated', 'service_role']) r(role)
        where has_function_privilege(r.role, 'public.ops_later()', 'execute') or has_table_privilege(r.role, 'public.ops_later_table', 'insert')
          or r.role <> 'service_role' and has_table_privilege(r.role, 'public.ops_later_table', 'select')`);
      expect(open).toEqual([]);
    });
  });
});

describe('words of a body', () => {
  test('leave comments and quotes out', () => {
    expect(readable("a -- from ops_x\n'from ops_y' /* ops_z( */ b").trim().split(/\s+/)).toEqual(['a', 'b']);
  });

  test('tell names without a schema from others', () => {
    const body = `select ops_clock() from ops_policy p join public.ops_limits l on true;
      with ops_named as (select 1) select * from ops_named; perform public.ops_wake('x');`;
    expect(unqualified(body)).toEqual(['ops_policy', 'ops_clock']);
  });

  test('tell statements on a whole table from others', () => {
    const body = `update public.ops_a set x = (select 1 from y where true); delete from public.ops_b b where b.x;
      with gone as (delete from public.ops_c returning *) select * from gone where true; select * from public.ops_d for update;`;
    expect(wholeTable(body)).toEqual(['update public.ops_a', 'delete from public.ops_c']);
  });
});
