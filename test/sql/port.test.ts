/** The port against the catalog: every call exists as it is described, and nothing that is granted is missing. */
import { beforeAll, describe, expect, test } from 'vitest';
import { type Call, sqlName } from '../../supabase/client/call.js';
import { calls } from '../../supabase/client/port.js';
import { useDatabase } from '../support/database.js';

const database = useDatabase();

type Argument = { type: string; optional: boolean };
type SqlFunction = { shape: string; arguments: Record<string, Argument> };

const described = Object.values(calls as unknown as Record<string, Call<Record<string, never>, unknown>>);
let functions: Map<string, SqlFunction[]>;

/** A function's input arguments by name, in order, and what comes out: rows, one row of several columns, one value. */
const catalogQuery = `
  select p.proname as name,
    case when p.proretset then 'rows' when p.proargmodes is not null then 'row' else 'value' end as shape,
    coalesce((select jsonb_object_agg(a.name, jsonb_build_object('type', format_type(a.type, null), 'optional', a.n > p.pronargs - p.pronargdefaults))
      from unnest(p.proargtypes::oid[], p.proargnames) with ordinality a(type, name, n) where a.n <= p.pronargs), '{}') as arguments
  from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname like 'ops\\_%'`;

beforeAll(async () => {
  const rows = await database.sql<{ name: string } & SqlFunction>(catalogQuery);
  functions = new Map(rows.map(({ name }) => [name, rows.filter((row) => row.name === name)]));
});

/** SQL wants a default for each parameter after the first that has one; a failure without words is of no use. */
const demanded: Record<string, string[]> = { ops_record_beat_failure: ['p_source', 'p_error'] };

/** The catalog writes out what the port abbreviates. */
const sqlTypes: Record<string, string> = { timestamptz: 'timestamp with time zone' };

function shapeOf({ fn, params, shape }: Call<Record<string, never>, unknown>): SqlFunction {
  const given = Object.entries(params as Record<string, { sql: string; optional: boolean }>);
  const entries = given.map(([name, { sql, optional }]) => {
    const type = sqlTypes[sql] ?? sql;
    return [sqlName(name), { type, optional: optional || demanded[fn]?.includes(sqlName(name)) === true }];
  });
  return { shape: shape.kind, arguments: Object.fromEntries(entries) };
}

describe('a call of the port', () => {
  test.each(described.map((call) => [call.fn, call] as const))('%s is the function in SQL', (fn, call) => {
    expect(functions.get(fn), `${fn} is there once, without overloads`).toHaveLength(1);
    const [{ shape, arguments: inSql } = { shape: '', arguments: {} }] = functions.get(fn) ?? [];
    expect({ shape, arguments: inSql }).toEqual(shapeOf(call));
  });

  test('is the only one of its function', () => {
    const names = described.map(({ fn }) => fn);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  });
});

/** Granted without being called from here, with the reason. */
const notInPort: Record<string, string> = {};

describe('the functions that roles may call', () => {
  const granted = () =>
    database
      .sql<{ name: string }>('select function_name as name from public.ops_grant_list()')
      .then((rows) => rows.map(({ name }) => name));

  test('are in the port, or have a reason not to be', async () => {
    const known = new Set([...described.map(({ fn }) => fn), ...Object.keys(notInPort)]);
    expect((await granted()).filter((name) => !known.has(name))).toEqual([]);
    expect(Object.keys(notInPort).filter((name) => described.some(({ fn }) => fn === name))).toEqual([]);
  });

  test('exist, and hold all that the port calls', async () => {
    const names = await granted();
    expect(names.filter((name) => !functions.has(name))).toEqual([]);
    expect(described.map(({ fn }) => fn).filter((fn) => !names.includes(fn))).toEqual([]);
  });
});
