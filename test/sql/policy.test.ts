import { beforeEach, describe, expect, test } from 'vitest';
import { policyKeys } from '../../supabase/client/terms.js';
import { type Sql, useDatabase } from '../support/database.js';
import { blocked } from './engine-kit.js';

const db = useDatabase();

type Json = unknown;
type History = {
  version: string;
  operation: string;
  value: Json;
  old_value: Json;
  session_role: string;
  role: string;
  application: string | null;
  claims: Json;
  query: string | null;
  reason: string | null;
};

const caps = (limit: number) => JSON.stringify({ daily_limit: limit });
const history = (key: string, sql: Sql = db.sql) =>
  sql<History>('select * from public.ops_policy_history where key = $1 order by version', [key]);

const pattern = (more: object = {}) => ({
  id: 'p1',
  event_type: 'x:y',
  template: { title: 'T', steps: [{ kind: 'noop', params: {} }] },
  ...more,
});
/** Every test starts without the policies it writes; the history only grows. */
beforeEach(async () => {
  await db.sql(
    "delete from public.ops_policy where key in ('proposal_caps', 'switches', 'schedules', 'budgets')",
  );
});

describe('a write that is not valid', () => {
  test('is refused with code, first place, count, every problem and the remedy', async () => {
    const insert = db.sql('insert into public.ops_policy (key, value) values ($1, $2)', [
      'proposal_caps',
      JSON.stringify({ daily_limit: 'many', max_pendng: 3 }),
    ]);
    const error = await insert.then(
      () => undefined,
      (thrown: { code: string; message: string; detail: string; hint: string }) => thrown,
    );
    expect(error?.code).toBe('OP008');
    expect(error?.message).toMatch(/\$\.max_pendng is not known here \(and 1 more\)/);
    expect(JSON.parse(error?.detail ?? '')).toEqual([
      expect.objectContaining({ path: '$.max_pendng' }),
      expect.objectContaining({ path: '$.daily_limit', message: 'must be an integer; it is text' }),
    ]);
    expect(error?.hint).toMatch(/max_pending/);
    expect(await db.sql("select from public.ops_policy where key = 'proposal_caps'")).toEqual([]);
  });

  test('is refused by insert, update and upsert alike and leaves the last good one', async () => {
    await db.sql('insert into public.ops_policy (key, value) values ($1, $2)', ['proposal_caps', caps(1)]);
    const before = await history('proposal_caps');
    const writes = [
      `update public.ops_policy set value = value || '{"daily_limit": -1}' where key = 'proposal_caps'`,
      `insert into public.ops_policy (key, value) values ('proposal_caps', '[]') on conflict (key) do update set value = excluded.value`,
      `insert into public.ops_policy (key, value) values ('proposal_cap', '{}')`,
      `select public.ops_set_policy('proposal_caps', 'null')`,
    ];
    for (const write of writes) await expect(db.sql(write)).rejects.toMatchObject({ code: 'OP008' });
    const row = await db.one("select value from public.ops_policy where key = 'proposal_caps'");
    expect(row.value).toEqual({ daily_limit: 1 });
    expect(await history('proposal_caps')).toEqual(before);
  });

  test('cannot rename a key', async () => {
    await db.sql('insert into public.ops_policy (key, value) values ($1, $2)', ['proposal_caps', caps(1)]);
    const rename = db.sql("update public.ops_policy set key = 'budgets' where key = 'proposal_caps'");
    await expect(rename).rejects.toMatchObject({ code: 'OP015' });
  });

  test.each<[string, Json, RegExp]>([
    ['the same id twice', [pattern(), pattern()], /\$\.patterns\[1\]\.id is p1/],
    [
      'an event type of the wrong shape',
      [pattern({ event_type: 'a b' })],
      /\$\.patterns\[0\]\.event_type must be an event type/,
    ],
    ['no event type in the list', [pattern({ event_type: [] })], /\$\.patterns\[0\]\.event_type is empty/],
    [
      'a condition that does not parse',
      [pattern({ where: 'data.x = 1' })],
      /\$\.patterns\[0\]\.where is no SQL\/JSON path/,
    ],
    [
      'a condition that could take for ever',
      [pattern({ where: '$.a[*] == $.b[*]' })],
      /\$\.patterns\[0\]\.where has wildcards/,
    ],
    [
      'a probability above one',
      [pattern({ probability: 1.5 })],
      /\$\.patterns\[0\]\.probability is 1.5, above 1/,
    ],
    ['a malformed key', [pattern({ dedupe_key: '{{event' })], /\$\.patterns\[0\]\.dedupe_key/],
    [
      'a key that asks for a step',
      [pattern({ limit: { count: 1, per_minutes: 1, key: '{{steps.a.result}}' } })],
      /\$\.patterns\[0\]\.limit\.key asks for steps/,
    ],
    [
      'an unknown executor',
      [pattern(), pattern({ id: 'p2', template: { title: 'T', steps: [{ kind: 'gone' }] } })],
      /\$\.patterns\[1\]\.template\.steps\[0\]\.kind OPS_005/,
    ],
    [
      'params of the wrong type',
      [pattern({ template: { title: 'T', steps: [{ kind: 'noop', params: { hang: 'yes' } }] } })],
      /\$\.patterns\[0\]\.template\.steps\[0\]\.params\.hang must be true or false/,
    ],
  ])('in a matrix: %s', async (_, patterns, message) => {
    const write = db.sql("select public.ops_set_policy('reaction_matrix', $1)", [
      JSON.stringify({ patterns }),
    ]);
    await expect(write).rejects.toMatchObject({ code: 'OP008', message: expect.stringMatching(message) });
  });

  test('in schedules and budgets: time zones that nobody knows, ids used twice', async () => {
    const schedule = { id: 's', cron: '0 9 * * 1', event: { type: 'report:due' } };
    const found = await db.sql("select path from public.ops_validate_policy('schedules', $1) order by path", [
      JSON.stringify({
        schedules: [
          { ...schedule, time_zone: 'Europe/Berlin' },
          { ...schedule, time_zone: 'Mars/Base' },
        ],
      }),
    ]);
    expect(found.map(({ path }) => path)).toEqual(['$.schedules[1].id', '$.schedules[1].time_zone']);
    const budgets = await db.sql(
      `select path from public.ops_validate_policy('budgets', '{"time_zone": "Nowhere"}')`,
    );
    expect(budgets).toEqual([{ path: '$.time_zone' }]);
  });

  test('warnings alone do not stop a write', async () => {
    const value = JSON.stringify({
      enabled: false,
      allowed_step_kinds: ['not-there-yet'],
      allowed_sources: ['github'],
    });
    const found = await db.sql("select severity, path from public.ops_validate_policy('auto_approve', $1)", [
      value,
    ]);
    expect(found).toEqual([
      { severity: 'warning', path: '$.allowed_step_kinds[0]' },
      { severity: 'warning', path: '$.allowed_sources[0]' },
    ]);
    await db.sql("select public.ops_set_policy('auto_approve', $1)", [value]);
  });
});

describe('versions and history', () => {
  test('versions rise by one with every change, also over delete and insert', async () => {
    const versions = (await history('proposal_caps')).length;
    await db.sql("select public.ops_set_policy('proposal_caps', $1)", [caps(1)]);
    await db.sql("update public.ops_policy set value = $1, version = 99 where key = 'proposal_caps'", [
      caps(2),
    ]);
    await db.sql("delete from public.ops_policy where key = 'proposal_caps'");
    await db.sql("insert into public.ops_policy (key, value) values ('proposal_caps', $1)", [caps(3)]);
    const rows = (await history('proposal_caps')).slice(versions);
    expect(rows.map(({ version }) => Number(version) - versions)).toEqual([1, 2, 3, 4]);
    expect(rows.map(({ operation }) => operation)).toEqual(['insert', 'update', 'delete', 'insert']);
    expect(rows.map(({ old_value, value }) => [old_value, value])).toEqual([
      [null, { daily_limit: 1 }],
      [{ daily_limit: 1 }, { daily_limit: 2 }],
      [{ daily_limit: 2 }, null],
      [null, { daily_limit: 3 }],
    ]);
  });

  test('a write that changes nothing keeps version and time', async () => {
    await db.sql("select public.ops_set_policy('proposal_caps', $1)", [caps(5)]);
    const read = () =>
      db.one("select version, updated_at from public.ops_policy where key = 'proposal_caps'");
    const before = { row: await read(), history: await history('proposal_caps') };
    await db.sql(
      "update public.ops_policy set value = value, version = 1, updated_at = '2000-01-01' where key = 'proposal_caps'",
    );
    await db.sql("select public.ops_set_policy('proposal_caps', $1)", [caps(5)]);
    expect({ row: await read(), history: await history('proposal_caps') }).toEqual(before);
  });

  test('who, how and why are recorded', async () => {
    const client = await db.connect();
    const claims = { sub: 'u-1', email: 'ann@example.org' };
    await client.query("set application_name = 'editor'");
    await client.query("select set_config('request.jwt.claims', $1, false)", [JSON.stringify(claims)]);
    await client.query(
      `-- source: dashboard\n-- user: 42\nselect public.ops_set_policy('proposal_caps', '{"daily_limit": 8}', 'month end')\n-- date: today`,
    );
    const last = (await history('proposal_caps')).at(-1);
    expect(last).toMatchObject({
      application: 'editor',
      claims,
      query: '-- source: dashboard\n-- user: 42\n-- date: today',
      reason: 'month end',
    });
    expect(last?.session_role).toBe(last?.role);
    const audit = await db.one(
      "select * from public.ops_policy_audit where policy_key = 'proposal_caps' order by version desc limit 1",
    );
    expect(audit).toMatchObject({
      changed_by: 'ann@example.org',
      new_value: { daily_limit: 8 },
      reason: 'month end',
    });
    await client.query("select set_config('request.jwt.claims', 'not json', false)");
    await client.query(`update public.ops_policy set value = '{}' where key = 'proposal_caps'`);
    expect((await history('proposal_caps')).at(-1)).toMatchObject({
      claims: null,
      query: null,
      reason: null,
    });
  });

  test.each([
    "update public.ops_policy_history set reason = 'x'",
    'delete from public.ops_policy_history',
    'truncate public.ops_policy_history',
  ])('%s is refused, for the owner too', async (statement) => {
    await expect(db.sql(statement)).rejects.toMatchObject({
      code: 'OP015',
      hint: expect.stringContaining('ops_rollback_policy'),
    });
  });

  test.each([
    "update public.ops_policy_patterns set types = '{nothing}'",
    'delete from public.ops_policy_patterns',
    'truncate public.ops_policy_patterns',
    "insert into public.ops_policy_patterns (pattern_id, revision, position, template, leaves) values ('x', 1, 99, '{}', null)",
  ])('%s: a pattern nobody checked cannot become active, for the owner neither', async (statement) => {
    await expect(db.sql(statement)).rejects.toMatchObject({
      code: 'OP015',
      hint: expect.stringContaining('reaction_matrix'),
    });
  });

  test('truncate of the policies is recorded and empties the compiled patterns', async () => {
    const client = await db.connect();
    await client.query('begin');
    await client.query('truncate public.ops_policy');
    const { rows } = await client.query(
      "select (select count(*)::int from public.ops_policy_patterns) as patterns, operation from public.ops_policy_history where key = 'reaction_matrix' order by version desc limit 1",
    );
    await client.query('rollback');
    expect(rows).toEqual([{ patterns: 0, operation: 'delete' }]);
  });

  test('two writers at once both count', async () => {
    const before = (await history('proposal_caps')).length;
    await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        i % 3 === 2
          ? db.sql("delete from public.ops_policy where key = 'proposal_caps'")
          : db.sql("select public.ops_set_policy('proposal_caps', $1)", [caps(i)]),
      ),
    );
    const versions = (await history('proposal_caps')).map(({ version }) => Number(version));
    expect(versions.length).toBeGreaterThanOrEqual(before + 8);
    expect(versions).toEqual(versions.map((_, i) => i + 1));
  });

  test('applying several refuses what was changed while it waited for its turn', async () => {
    const version = async () => Number((await history('proposal_caps')).at(-1)?.version ?? 0);
    await db.sql("select public.ops_set_policy('proposal_caps', $1)", [caps(1)]);
    const seen = await version();
    const editor = await db.connect();
    await editor.query('begin');
    await editor.query(`update public.ops_policy set value = $1 where key = 'proposal_caps'`, [caps(111)]);
    const applied = db
      .sql('select public.ops_apply_policies($1, $2)', [
        { proposal_caps: { daily_limit: 222 } },
        { proposal_caps: seen },
      ])
      .then(
        () => 'applied',
        ({ code }: { code: string }) => code,
      );
    await blocked(db, 1, 'the second waits');
    await editor.query('commit');
    expect(await applied).toBe('OP015');
    expect((await history('proposal_caps')).at(-1)?.value).toEqual({ daily_limit: 111 });
  });

  test('rollback writes the old value as a new version', async () => {
    const first = await db.one<{ r: { version: number } }>(
      "select public.ops_set_policy('proposal_caps', $1) as r",
      [caps(1)],
    );
    await db.sql("select public.ops_set_policy('proposal_caps', $1)", [caps(2)]);
    const { r } = await db.one<{ r: { key: string; version: number } }>(
      "select public.ops_rollback_policy('proposal_caps', $1) as r",
      [first.r.version],
    );
    expect(r).toEqual({ key: 'proposal_caps', version: first.r.version + 2 });
    expect((await history('proposal_caps')).at(-1)).toMatchObject({
      value: { daily_limit: 1 },
      reason: `back to version ${first.r.version}`,
    });
  });

  test('rollback to what was never there, or to a deletion, is OPS_012', async () => {
    const deletion = (await history('proposal_caps')).find(({ operation }) => operation === 'delete');
    for (const version of [4711, deletion?.version])
      await expect(
        db.sql("select public.ops_rollback_policy('proposal_caps', $1)", [version]),
      ).rejects.toMatchObject({ code: 'OP012' });
  });
});

test('there is a schema for every policy key and none besides', async () => {
  const rows = await db.sql(
    "select substr(name, 8) as key from public.ops_schemas where name like 'policy:%'",
  );
  expect(new Set(rows.map(({ key }) => key))).toEqual(new Set(policyKeys));
});
