/**
 * A bad policy never becomes active, by any road. Random sequences of good and bad writes, on every road there is;
 * after each the active value validates, is the last good one, and the compiled patterns are those of the matrix.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';

const db = useDatabase();

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Key = 'reaction_matrix' | 'proposal_caps';
type Write = { road: keyof typeof roads; key: Key; value: Json };

const pattern = (id: string, more: { [name: string]: Json } = {}): Json => ({
  id,
  event_type: ['x:y', `${id}:*`],
  template: {
    title: 'T {{event.data.a ?? 1}}',
    steps: [{ kind: 'noop', params: { echo: '{{event.data}}' } }],
  },
  ...more,
});
const good: Record<Key, Json[]> = {
  reaction_matrix: [
    { patterns: [] },
    { patterns: [pattern('a')] },
    {
      patterns: [
        pattern('a', { enabled: false }),
        pattern('b', { where: '$.data.x == 1', probability: 0.5 }),
      ],
    },
    { patterns: [pattern('b', { cooldown_minutes: 5, cooldown_key: '{{event.data.k}}' }), pattern('a')] },
    { patterns: [pattern('c', { limit: { count: 5.0, per_minutes: 0.5 }, dedupe_key: 'c:{{event.id}}' })] },
  ],
  proposal_caps: [
    {},
    { daily_limit: 5 },
    { daily_limit: 5, on_exceed: 'reject' },
    { per_source: { api: 1 } },
  ],
};
const bad: Record<Key, Json[]> = {
  reaction_matrix: [
    null,
    [],
    {},
    { patterns: [pattern('a'), pattern('a')] },
    { patterns: [pattern('a', { where: '$.** == 1' })] },
    { patterns: [pattern('a', { where: 'nonsense(' })] },
    { patterns: [pattern('a', { cooldown_key: '{{event' })] },
    { patterns: [pattern('a', { template: { title: 'T', steps: [{ kind: 'nobody-has-this' }] } })] },
    { patterns: [pattern('a', { template: { title: '{{steps.a.result}}', steps: [{ kind: 'noop' }] } })] },
    { patterns: [pattern('a', { unknown: true })] },
  ],
  proposal_caps: [
    null,
    7,
    [],
    { daily_limit: -1 },
    { daily_limit: 1.5 },
    { dayly_limit: 1 },
    { time_zone: 'Mars/Base' },
  ],
};

const literal = (value: Json): string => `'${JSON.stringify(value).replaceAll("'", "''")}'::jsonb`;

/** The statements of each road; a bad value may take any of them. */
const roads = {
  update: (key: Key, value: Json) => `update ops_policy set value = ${literal(value)} where key = '${key}'`,
  insert: (key: Key, value: Json) =>
    `insert into ops_policy (key, value) values ('${key}', ${literal(value)})`,
  upsert: (key: Key, value: Json) =>
    `insert into ops_policy (key, value) values ('${key}', ${literal(value)}) on conflict (key) do update set value = excluded.value`,
  replace: (key: Key, value: Json) =>
    `begin; delete from ops_policy where key = '${key}'; insert into ops_policy (key, value) values ('${key}', ${literal(value)}); commit`,
  merge: (key: Key, value: Json) =>
    `merge into ops_policy p using (select '${key}' as key, ${literal(value)} as value) n on p.key = n.key
     when matched then update set value = n.value when not matched then insert (key, value) values (n.key, n.value)`,
  call: (key: Key, value: Json) => `select ops_set_policy('${key}', ${literal(value)}, 'property')`,
  rename: (key: Key, value: Json) =>
    `begin; delete from ops_policy where key in ('retention', '${key}'); insert into ops_policy (key, value) values ('retention', '{}');
     update ops_policy set key = '${key}', value = ${literal(value)} where key = 'retention'; commit`,
  'with the engine mark': (key: Key, value: Json) =>
    `begin; set local ops.engine = 'on'; update ops_policy set value = ${literal(value)}, version = 1 where key = '${key}'; commit`,
  rollback: (key: Key) =>
    `select ops_rollback_policy('${key}', (select version from ops_policy_history where key = '${key}' and value is not null order by random() limit 1))`,
  'copy from history': (key: Key) =>
    `update ops_policy p set value = h.value, version = h.version from (
       select value, version from ops_policy_history where key = '${key}' and value is not null order by random() limit 1) h where p.key = '${key}'`,
  delete: (key: Key) => `delete from ops_policy where key = '${key}'`,
  truncate: () => 'truncate ops_policy',
};
/** These bring no value of their own, and only good ones were ever recorded. */
const withoutValue = new Set<string>(['rollback', 'copy from history', 'delete', 'truncate']);

const write: fc.Arbitrary<Write> = fc
  .constantFrom<Key>('reaction_matrix', 'reaction_matrix', 'proposal_caps')
  .chain((key) =>
    fc.record({
      road: fc.constantFrom(...(Object.keys(roads) as (keyof typeof roads)[])),
      key: fc.constant(key),
      value: fc.oneof(fc.constantFrom(...good[key]), fc.constantFrom(...bad[key])),
    }),
  );

type State = { key: string; version: string; value: Json }[];
const policiesQuery =
  "select key, version, value from ops_policy where key in ('reaction_matrix', 'proposal_caps') order by key";

/** What is wrong with what is active now; no row when nothing is. */
const faultsQuery = `
  select 'invalid ' || p.key as fault from ops_policy p cross join lateral ops_validate_policy(p.key, p.value) v where v.severity = 'error'
  union all
  select 'compiled otherwise' from (
    (select to_jsonb(c) - 'revision' as c from ops_policy_patterns c except all
     select to_jsonb(c) - 'revision' from ops_policy p cross join lateral ops_compile_matrix(p.value, p.version) c where p.key = 'reaction_matrix')
    union all
    (select to_jsonb(c) - 'revision' from ops_policy p cross join lateral ops_compile_matrix(p.value, p.version) c where p.key = 'reaction_matrix' except all
     select to_jsonb(c) - 'revision' from ops_policy_patterns c)) difference
  union all
  select 'revision ' || c.revision from ops_policy_patterns c where c.revision is distinct from (select version from ops_policy where key = 'reaction_matrix')
  union all
  select 'history of ' || k.key from (values ('reaction_matrix'), ('proposal_caps')) k(key)
  where (select p.value from ops_policy p where p.key = k.key) is distinct from
    (select h.value from ops_policy_history h where h.key = k.key order by h.version desc limit 1)`;

async function run({ road, key, value }: Write): Promise<boolean> {
  const client = await db.pool.connect();
  try {
    await client.query(roads[road](key, value));
    return true;
  } catch (error) {
    await client.query('rollback');
    const { code } = error as { code?: string };
    // 23505: the insert of a key that is there; 12: nothing to roll back to yet; 15: a key cannot be renamed.
    expect(['OP008', 'OP011', 'OP012', 'OP015', '23505']).toContain(code);
    return false;
  } finally {
    client.release();
  }
}

test('a bad policy never becomes active, by any road', async () => {
  const taken = new Map<string, number>();
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(write, { minLength: 12, maxLength: 12 }), async (writes) => {
      for (const one of writes) {
        const before = await db.sql<State[number]>(policiesQuery);
        const done = await run(one);
        const after = await db.sql<State[number]>(policiesQuery);
        expect({ one, faults: await db.sql(faultsQuery) }).toEqual({ one, faults: [] });
        if (!done) expect(after).toEqual(before);
        const isBad = !withoutValue.has(one.road) && bad[one.key].some((value) => value === one.value);
        if (isBad) expect(after, `${one.road} of a bad value`).toEqual(before);
        refused += done ? 0 : 1;
        if (done) taken.set(one.road, (taken.get(one.road) ?? 0) + 1);
      }
    }),
    { numRuns: 25 },
  );
  expect(refused).toBeGreaterThan(50);
  expect([...taken.keys()].sort()).toEqual(
    Object.keys(roads)
      .filter((road) => road !== 'rename')
      .sort(),
  );
});
