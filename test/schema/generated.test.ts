import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { builtinExecutors } from '../../supabase/client/terms.js';
import { useDatabase } from '../support/database.js';
import { functionsPath, functionsReference } from './functions.js';
import { generate, migrationPath, schemas, simplify, toSchema } from './generate.js';

const db = useDatabase();

test('0004_ops_schemas.sql is what `npm run generate` writes', async () => {
  const stored = await readFile(migrationPath, 'utf8');
  expect(stored === generate(), 'stale: run `npm run generate`').toBe(true);
});

test('docs/functions.md is what `npm run generate` writes, and leaves out no function that others may call', async () => {
  const page = await readFile(functionsPath, 'utf8');
  expect(page === (await functionsReference(db.sql)), 'stale: run `npm run generate`').toBe(true);
  const callable = await db.sql<{ name: string }>(
    'select function_name as name from public.ops_grant_list()',
  );
  expect(callable.filter(({ name }) => !page.includes(`**${name}**`))).toEqual([]);
});

test('generating twice gives the same text', () => {
  expect(generate()).toBe(generate());
});

describe('in the database', () => {
  test('every generated schema uses only what the interpreter knows', async () => {
    const rows = await db.sql(
      `select name, unsupported from (
         select name, public.ops_schema_unsupported(schema) as unsupported from public.ops_schemas
         union all select name, public.ops_schema_unsupported(params_schema) from public.ops_executors where params_schema is not null
         union all select name, public.ops_schema_unsupported(result_schema) from public.ops_executors where result_schema is not null
       ) s where unsupported <> '{}'`,
    );
    expect(rows).toEqual([]);
  });

  test('the schemas are those of the code', async () => {
    const rows = await db.sql('select name, schema from public.ops_schemas order by name');
    const expected = schemas().map(([name, schema]) => ({ name, schema }));
    expect(rows).toEqual(expected.sort((a, b) => (a.name < b.name ? -1 : 1)));
  });

  test('the nine built-in executors are registered with their traits', async () => {
    const rows = await db.sql<{ name: string; idempotent: boolean; risk: string }>(
      'select name, idempotent, risk from public.ops_executors where builtin',
    );
    expect(new Set(rows.map(({ name }) => name))).toEqual(new Set(builtinExecutors));
    const idempotent = rows.filter((row) => row.idempotent).map(({ name }) => name);
    expect(new Set(idempotent)).toEqual(new Set(['noop', 'radar', 'wreckit', 'agent', 'vote']));
    const risky = rows.filter(({ risk }) => risk === 'high').map(({ name }) => name);
    expect(new Set(risky)).toEqual(new Set(['http', 'wreckit', 'openclaw', 'minion']));
  });

  test('the built-ins whose code is here check their params', async () => {
    const rows = await db.sql(
      "select name from public.ops_executors where name in ('noop', 'radar') and params_schema is null",
    );
    expect(rows).toEqual([]);
  });

  test('a keyword that the interpreter does not know is named with its place', async () => {
    const schema = {
      type: 'object',
      properties: { a: { multipleOf: 2 }, not: { type: 'string' } },
      items: { allOf: [] },
      anyOf: [{ $ref: 'https://example.org/x' }],
    };
    const { unsupported } = await db.one('select public.ops_schema_unsupported($1) as unsupported', [
      JSON.stringify(schema),
    ]);
    expect(unsupported).toEqual(['$.anyOf.0.$ref', '$.items.allOf', '$.properties.a.multipleOf']);
  });
});

describe('simplified schemas', () => {
  test('say "any JSON" by the empty schema', () => {
    const schema = toSchema(z.strictObject({ a: z.json(), b: z.record(z.string(), z.json()) }));
    expect(schema).toEqual({
      type: 'object',
      properties: { a: {}, b: { type: 'object', additionalProperties: {} } },
      required: ['a', 'b'],
      additionalProperties: false,
    });
  });

  test('keep a recursive schema that says more', () => {
    const tree = {
      $ref: '#/$defs/tree',
      $defs: { tree: { type: 'object', properties: { left: { $ref: '#/$defs/tree' } } } },
    };
    expect(simplify(tree)).toEqual(tree);
  });
});
