/**
 * Input that means harm: it is decided or refused once, with words, and within the patience of a beat. Everything
 * that decides or writes here runs under a statement timeout of five seconds, which must never fire.
 */
import type { Client } from 'pg';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { rollbackPolicyOrAlarm, setPolicyOrAlarm } from '../../supabase/client/policy.js';
import { type Json, noop, only, useEngine } from './engine-kit.js';

const engine = useEngine();
let impatient: Client;

beforeAll(async () => {
  impatient = await engine.db.connect();
  await impatient.query("set statement_timeout = '5s'");
});

const row = async (text: string, values?: unknown[]) =>
  only((await impatient.query<Record<string, Json>>(text, values)).rows);
const emit = (type: string, data: Json) =>
  impatient.query('insert into ops_agent_events (type, data) values ($1, $2)', [type, JSON.stringify(data)]);
const template = (echo: Json): Json => ({
  title: 'look',
  steps: [noop('a', { params: { echo } }), noop('b', { params: { echo: '{{steps.a.result.echo}}' } })],
});
const pattern = (more: { [name: string]: Json } = {}): Json => ({
  id: 'hostile',
  event_type: 'hostile:*',
  template: template('{{event.data}}'),
  ...more,
});
const setPatterns = (...patterns: Json[]) =>
  impatient.query("select ops_set_policy('reaction_matrix', $1)", [JSON.stringify({ patterns })]);

/** Rounds under the timeout until nothing is left. */
async function beat(): Promise<void> {
  for (let rounds = 0; rounds < 100; rounds += 1) {
    const { said } = await row("select ops_heartbeat(p_source => 'reactive') as said");
    const { more, failures } = said as { more: boolean; failures: Json[] };
    expect(failures).toEqual([]);
    if (!more) return;
  }
  throw new Error('a hundred rounds did not decide everything');
}

const decisions = () =>
  engine.db.sql<{ type: string; outcome: string; clause: string | null; detail: { error?: string } | null }>(
    `select e.type, e.outcome, d.clause, d.detail from ops_agent_events e left join ops_event_decisions d on d.event_id = e.id
     where e.type like 'hostile:%' or e.type like 'plain:%' order by e.type`,
  );

const everyControl = Array.from({ length: 31 }, (_, i) => String.fromCharCode(i + 1)).join('');
const texts: [string, string][] = [
  [
    'template braces',
    '{"title": "{{event.data.secret}} }} {{", "secret": "s", "{{event.id}}": "{{steps.a.result}}"}',
  ],
  [
    'JSON path tricks',
    '{"title": "$.** ? (@ == $.data)", "$": 1, "[*]": 2, "a.b": {"c": 3}, "\\"": "\\\\\\""}',
  ],
  ['control characters', JSON.stringify({ title: `${everyControl}\u007f\u2028\u0085`, [everyControl]: 1 })],
  [
    'prototype names',
    '{"title": "t", "__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}, "toString": 0}',
  ],
  ['bidirectional text', JSON.stringify({ title: 'invoice\u202egnp.exe\u202c \u2066x\u2069 \ufeff\u200d' })],
  ['what SQL might read', `{"title": "'); drop table ops_policy; --", "e": "\\\\x41 $1 $$ %s %I"}`],
  [
    'numbers beyond a double',
    `{"title": "n", "n": 1${'0'.repeat(5000)}, "m": 0.${'0'.repeat(5000)}1, "e": 1e300}`,
  ],
];

describe('an event whose data holds', () => {
  test.each(texts)('%s is passed on to the letter, and neither read nor rendered again', async (_, data) => {
    const keys = {
      cooldown_minutes: 1,
      cooldown_key: '{{event.data.title}}',
      dedupe_key: '{{event.data.title}}',
    };
    await setPatterns(pattern({ where: '$.data.title != "x"', ...keys }), {
      id: 'plain',
      event_type: 'plain:one',
      template: template('fine'),
    });
    await impatient.query(
      "insert into ops_agent_events (type, data) values ('hostile:one', $1), ('plain:one', '{}')",
      [data],
    );
    await beat();
    expect(await decisions()).toMatchObject([
      { type: 'hostile:one', outcome: 'fired', clause: null },
      { type: 'plain:one', outcome: 'fired', clause: null },
    ]);
    const same = await engine.db.one(
      `select s.params -> 'echo' = $1::jsonb as same, s.id, s.lease_epoch from ops_mission_steps s
       join ops_missions m on m.id = s.mission_id where m.pattern_id = 'hostile' and s.key = 'a'`,
      [data],
    );
    expect(same).toMatchObject({ same: true });
    await impatient.query("select * from ops_claim_steps('w', '{noop}')");
    await impatient.query(
      "select * from ops_complete_steps('w', jsonb_build_array(jsonb_build_object('step_id', $1::text, 'lease_epoch', 1, 'result', jsonb_build_object('echo', $2::jsonb))))",
      [same.id, data],
    );
    const next = await engine.db.one(
      `select s.params -> 'echo' = $1::jsonb as same, s.status from ops_mission_steps s
       join ops_missions m on m.id = s.mission_id where m.pattern_id = 'hostile' and s.key = 'b'`,
      [data],
    );
    expect(next).toEqual({ same: true, status: 'queued' });
  });

  test('prototype names does not touch the objects of this process', async () => {
    await engine.port.emitEvent({ type: 'hostile:proto', data: JSON.parse(texts[3]?.[1] ?? '') });
    const { params } = only(await stepsOf(pattern()));
    expect(JSON.stringify(params)).toContain('constructor');
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
  });

  test('the null character is refused once, as the sender’s error', async () => {
    const sent = engine.port.emitEvent({ type: 'hostile:null', data: { title: 'a\u0000b' } });
    await expect(sent).rejects.toMatchObject({ code: 'OPS_011' });
    expect(await decisions()).toEqual([]);
  });
});

/** Fires the pattern on what was emitted and claims what came of it. */
async function stepsOf(fired: Json) {
  await setPatterns(fired);
  await beat();
  return engine.claim();
}

describe('a large event', () => {
  /** Text that does not compress, in kilobytes. */
  const noise = (kilobytes: number) =>
    `(select jsonb_build_object('x', string_agg(md5(random()::text || i), '')) from generate_series(1, ${kilobytes} * 32) i)`;

  test('of 5 MB is closed with its reason where it must be tested, and fires where not but for its size', async () => {
    await setPatterns(
      pattern({ where: '$.data.x != ""' }),
      pattern({ id: 'untested', event_type: 'hostile:big' }),
      pattern({ id: 'small', event_type: 'hostile:big', template: template('{{event.type}}') }),
    );
    await impatient.query(`insert into ops_agent_events (type, data) select 'hostile:big', ${noise(5000)}`);
    await emit('plain:one', {});
    await beat();
    const said = await engine.db.sql(
      'select pattern_id, outcome, clause, detail from ops_event_decisions order by pattern_id',
    );
    expect(said).toMatchObject([
      {
        pattern_id: 'hostile',
        outcome: 'failed',
        clause: 'where',
        detail: { error: 'event data over 64 kB cannot be tested' },
      },
      { pattern_id: 'small', outcome: 'fired' },
      {
        pattern_id: 'untested',
        outcome: 'failed',
        clause: 'render',
        detail: { error: 'the rendered tree is larger than 1 MB' },
      },
    ]);
  });

  test('is not taken together with all the others: a batch ends at its bytes too', async () => {
    for (let i = 0; i < 8; i += 1)
      await impatient.query(`insert into ops_agent_events (type, data) select 'hostile:many', ${noise(300)}`);
    const { taken } = await row('select cardinality(ops_take_batch(500)) as taken');
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThan(4);
    await beat();
    expect((await decisions()).map(({ outcome }) => outcome)).toEqual(Array(8).fill('unmatched'));
  });

  test('nested five thousand deep is passed on; nested without end is refused once', async () => {
    const nested = (depth: number) => `{"x": ${'['.repeat(depth)}${']'.repeat(depth)}}`;
    await setPatterns(pattern());
    await impatient.query("insert into ops_agent_events (type, data) values ('hostile:deep', $1)", [
      nested(3000),
    ]);
    await beat();
    expect(await decisions()).toMatchObject([{ outcome: 'fired' }]);
    await expect(
      impatient.query("select ops_emit_event('hostile:endless', $1)", [nested(1_000_000)]),
    ).rejects.toMatchObject({ code: '54001' });
  });
});

describe('a key over data that is missing', () => {
  test.each(['cooldown_key', 'dedupe_key'])(
    '%s closes the event with the path, and the others go on',
    async (key) => {
      await setPatterns(
        pattern({
          ...(key === 'cooldown_key' ? { cooldown_minutes: 5 } : {}),
          [key]: '{{event.data.issue.number}}',
        }),
      );
      await emit('hostile:bare', { issue: null });
      await emit('hostile:whole', { issue: { number: 7 } });
      await beat();
      const error = expect.stringMatching(
        /^key: event\.data\.issue\.number is missing; correct the path or write .+ "a default"/,
      );
      expect(await decisions()).toMatchObject([
        { type: 'hostile:bare', outcome: 'failed', clause: 'render', detail: { error } },
        { type: 'hostile:whole', outcome: 'fired' },
      ]);
    },
  );
});

describe('a condition that could take for ever is refused', () => {
  const times = (count: number, text: string, by: string) => Array(count).fill(text).join(by);
  test.each<[string, string, RegExp]>([
    ['looking ahead', '$.data.s like_regex "a(?=.*b)"', /looks ahead or behind/],
    ['looking behind', '$.data.s like_regex "(?<!a)b"', /looks ahead or behind/],
    ['a back-reference', '$.data.s like_regex "(a*)*\\\\1"', /back-reference/],
    ['a huge repeat', '$.data.s like_regex "((a{1,30}){1,30}){1,30}b"', /repeats too often/],
    ['a repeat of a repeat', '$.data.s like_regex "(a?){200}a{200}b"', /repeats too often/],
    ['many regular expressions', times(11, '$.data.s like_regex "a"', ' || '), /uses like_regex 11 times/],
    ['lists of places, each doubling', `$.data.s${'[0,0]'.repeat(60)} == 1`, /lists places/],
    ['keyvalue() of keyvalue()', `$${'.keyvalue()'.repeat(30)}.key == "z"`, /keyvalue\(\) more than once/],
    ['every place there is', '$.data.**.x == 1', /uses \*\*/],
    ['everything with everything', '$.data.a[*] == $.data.b[*]', /wildcards on both sides/],
    ['many lists with lists', times(6, '$.data.a == $.data.b', ' || '), /compares two paths 6 times/],
    ['long products', times(3, '$.data.n', ' * '), /multiplies or divides by a path/],
    ['long sums', times(7, '$.data.n', ' - '), /reckons 6 times/],
    ['many comparisons', times(31, '$.a==1', '||'), /compares 31 times/],
    ['many filters', times(11, 'exists($.a?(@==1))', '||'), /filters 11 times/],
    ['a number without end', '$.data.n == 1e131073', /no SQL\/JSON path/],
    [
      'brackets without end',
      `${'('.repeat(990)}$.a == 1${')'.repeat(990)}${' '.repeat(20)}`,
      /more than 2000/,
    ],
  ])('%s', async (_, where, message) => {
    const steps = [noop('a'), noop('b', { when: where })];
    await expect(setPatterns(pattern({ where }))).rejects.toMatchObject({
      code: 'OP008',
      message: expect.stringMatching(message),
    });
    await expect(
      impatient.query('select ops_create_proposal($1)', [JSON.stringify({ title: 'T', steps })]),
    ).rejects.toMatchObject({ code: 'OP004', message: expect.stringMatching(message) });
  });

  test('though what only looks alike is accepted', async () => {
    const conditions = [
      '$.data.s like_regex "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"',
      '$.data.s like_regex "^(v\\\\d{1,3}\\\\.){1,4}[0-9a-f]{40}$"',
      '$.data.s == "(?=a) [0,0] .keyvalue().keyvalue() * * * * * * *"',
      'strict $.data.a == $.data.b || $.data.c == $.data.d || $.data.a == $.data.c || $.data.a == $.data.d || $.data.b == $.data.c || $.data.b == $.data.d',
      '$.data.before.state != $.data.after.state',
      '$.data.list[0 to 3] == 1',
    ];
    await setPatterns(...conditions.map((where, i) => pattern({ id: `p${i}`, where })));
  });
});

describe('the dearest conditions that are accepted', () => {
  const list = (item: Json, length: number): Json => Array(length).fill(item);
  const either = (count: number, write: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => write(i)).join('||');
  test.each<[string, string, Json]>([
    [
      'a list compared with a list',
      either(5, () => '$.data.a == $.data.b'),
      { a: list(1, 1300), b: list(2, 1300) },
    ],
    [
      'a list compared with a list, in 64 kB',
      either(5, () => '$.data.a == $.data.b'),
      { a: list(1, 10_800), b: list(2, 10_800) },
    ],
    ['thirty comparisons with a list', either(30, () => '$.data.a==3'), { a: list(1, 21_000) }],
    [
      'a dear regular expression on a list',
      '$.data.a like_regex "(a?){15}a{100}b"',
      { a: list('a', 13_000) },
    ],
    [
      'ten dear ones on a long text',
      either(10, (i) => `$.data.s like_regex "(a?){15}a{10${i}}b"`),
      { s: 'a'.repeat(65_000) },
    ],
    [
      'nested stars',
      '$.data.s like_regex "^((a*)*)*((a|aa)+)+$" && $.data.s like_regex "(.*)*(.*)*x"',
      { s: 'a'.repeat(65_000) },
    ],
    [
      'filters in filters',
      `exists($.data.a ? (@ == 2 || ${either(9, () => 'exists(@?(@==2))')}))`,
      { a: list(1, 21_000) },
    ],
  ])('%s: four events of it are decided in time', async (_, where, data) => {
    await setPatterns(pattern({ where }));
    for (let i = 0; i < 4; i += 1) await emit('hostile:dear', data);
    await beat();
    const outcomes = new Set((await decisions()).map(({ outcome }) => outcome));
    expect([...outcomes]).toHaveLength(1);
    expect(['unmatched', 'failed']).toContain([...outcomes][0]);
  });

  test('the product of long numbers: two events of it are decided in time', async () => {
    await setPatterns(pattern({ where: `$.data.n * ${'7'.repeat(1900)} - 1 == 0` }));
    for (let i = 0; i < 2; i += 1)
      await impatient.query("insert into ops_agent_events (type, data) values ('hostile:sum', $1)", [
        `{"n": ${'7'.repeat(60_000)}}`,
      ]);
    await beat();
    expect((await decisions()).map(({ outcome }) => outcome)).toEqual(Array(2).fill('unmatched'));
  });
});

describe('a policy beyond its bounds is refused once, with one sentence', () => {
  const refusal = async (key: string, value: Json, message: RegExp) => {
    const write = impatient.query('select ops_set_policy($1, $2)', [key, JSON.stringify(value)]);
    await expect(write).rejects.toMatchObject({ code: 'OP008', message: expect.stringMatching(message) });
  };
  const bare = { event_type: 'x:y', template: { title: 'T', steps: [{ kind: 'noop' }] } };
  const echo = (value: Json): Json => ({ patterns: [{ ...bare, id: 'p', template: template(value) }] });
  let nested: Json = '{{event.data.x}}';
  for (let i = 0; i < 200; i += 1) nested = [nested];

  test.each<[string, string, Json, RegExp]>([
    ['5 MB of text', 'reaction_matrix', echo('x'.repeat(5_000_000)), /\$ is \d+ bytes long, more than 1 MB/],
    ['5 MB of list', 'worker_policy', { allowed_tools: Array(1_000_000).fill('x') }, /\$ is \d+ bytes long/],
    [
      '10,000 patterns',
      'reaction_matrix',
      { patterns: Array.from({ length: 10_000 }, (_, i) => ({ ...bare, id: `p${i}` })) },
      /\$\.patterns has 10000 item\(s\), more than 1000$/,
    ],
    ['10,000 mistakes', 'reaction_matrix', { patterns: Array(1000).fill({ x: 1 }) }, /\(and \d{2,3} more\)$/],
    [
      '20,000 unknown names',
      'loop_limits',
      Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`k${i}`, 1])),
      /\(and 99 more\)$/,
    ],
    ['nesting', 'reaction_matrix', echo(nested), /\$ is nested more than 100 deep/],
    [
      '1,001 placeholders',
      'reaction_matrix',
      echo(Array(1000).fill('{{event.data.x}}')),
      /template holds more than 1000 placeholders/,
    ],
    [
      '10,000 placeholders in one text',
      'reaction_matrix',
      echo('a{{event.data.x}}'.repeat(10_000)),
      /holds more than 10{3,4} placeholders/,
    ],
    [
      'a default that never ends',
      'reaction_matrix',
      echo(`{{event.x ?? "${'}}'.repeat(100_000)}`),
      /is not JSON that ends/,
    ],
  ])('%s', (_, key, value, message) => refusal(key, value, message));

  test.each([
    ['worker_policy', '{"lease_minutes": 1e-400}'],
    [
      'reaction_matrix',
      '{"patterns": [{"id": "p", "event_type": "x:y", "probability": 1e-400, "template": {"title": "T", "steps": [{"kind": "noop"}]}}]}',
    ],
    ['alerts', '{"rules": {"x": {"warning": 1e400}}}'],
  ])('%s with a number that nothing can reckon with', async (key, value) => {
    const write = impatient.query('select ops_set_policy($1, $2)', [key, value]);
    await expect(write).rejects.toMatchObject({
      code: 'OP008',
      message: expect.stringMatching(/cannot be reckoned with/),
    });
  });

  test('a proposal is held to the same bounds', async () => {
    for (const value of ['x'.repeat(5_000_000), nested, Array(1000).fill('{{event.data.x}}')])
      await expect(
        impatient.query('select ops_create_proposal($1)', [JSON.stringify(template(value))]),
      ).rejects.toMatchObject({ code: 'OP004' });
  });
});

describe('templates as large as they may be', () => {
  const steps = (count: number, placeholders: number, needs: (i: number) => string[]) =>
    Array.from({ length: count }, (_, i) =>
      noop(`s${i}`, {
        depends_on: needs(i),
        params: { echo: Array.from({ length: placeholders }, (_, j) => `v{{event.data.x${j} ?? 1}}`) },
      }),
    );
  const others = (i: number, count: number) => Array.from({ length: count }, (_, j) => `s${i + 1 + j}`);

  test('100 steps with 1,000 placeholders, each after all that follow it: a batch of six events is decided in time', async () => {
    await setPatterns(
      pattern({ template: { title: 'large', steps: steps(100, 10, (i) => others(i, 99 - i)) } }),
    );
    for (let i = 0; i < 6; i += 1) await emit('hostile:large', { x3: 'three' });
    await beat();
    expect((await decisions()).map(({ outcome }) => outcome)).toEqual(Array(6).fill('fired'));
    const { count } = await row(
      "select count(*)::int as count from ops_mission_steps where params #>> '{echo,3}' = 'vthree'",
    );
    expect(count).toBe(600);
  });

  test('a circle through all of them is found in time', async () => {
    const circle = steps(100, 0, (i) => (i === 99 ? ['s0'] : others(i, 99 - i)));
    await expect(setPatterns(pattern({ template: { title: 'T', steps: circle } }))).rejects.toMatchObject({
      message: expect.stringMatching(/wait for each other in a circle: s0, s1, s10/),
    });
  });

  test('two hundred patterns for one event are decided in time', async () => {
    const many = Array.from({ length: 200 }, (_, i) => ({
      id: `p${i}`,
      event_type: 'hostile:*',
      where: `$.data.n == ${i} || $.data.title like_regex "^x${i}"`,
      template: template('{{event.data.title}}'),
    }));
    await setPatterns(...many);
    for (let i = 0; i < 5; i += 1) await emit('hostile:popular', { n: i, title: 'y'.repeat(20_000) });
    await beat();
    expect(
      await engine.db.sql("select pattern_id from ops_event_decisions where outcome = 'fired' order by 1"),
    ).toHaveLength(5);
  });
});

describe('a placeholder bomb', () => {
  const bombs: [string, Json, RegExp][] = [
    ['the whole event a thousand times', Array(999).fill('{{event.data}}'), /larger than 1 MB/],
    [
      'the whole event a thousand times in one text',
      '{{event.data}}'.repeat(999),
      /longer than 1000000 characters|larger than 1 MB/,
    ],
    [
      'many small ones in a large tree',
      [...Array<Json>(999).fill('{{event.data.n}}'), 'x'.repeat(900_000)],
      /too large for so many placeholders/,
    ],
  ];
  test.each(bombs)('%s is given up with its reason, and its neighbours fire', async (_, echo, message) => {
    await setPatterns(pattern({ template: { title: 'T', steps: [noop('a', { params: { echo } })] } }), {
      id: 'plain',
      event_type: 'plain:one',
      template: template('fine'),
    });
    for (let i = 0; i < 2; i += 1) await emit('hostile:bomb', { n: 1, pad: 'x'.repeat(60_000) });
    await emit('plain:one', {});
    await beat();
    const said = await decisions();
    expect(said).toHaveLength(3);
    for (const { type, outcome, detail } of said)
      if (type === 'plain:one') expect(outcome).toBe('fired');
      else
        expect({ outcome, error: detail?.error }).toEqual({
          outcome: 'failed',
          error: expect.stringMatching(message),
        });
  });
});

describe('a refusal', () => {
  beforeEach(() => engine.db.sql("delete from ops_agent_events where type = 'policy:refused'"));

  test('is recorded once per key, reason and hour, with the version that stays', async () => {
    for (const reason of ['$.a is wrong', '$.a is wrong', '$.b is wrong', 'x'.repeat(5000)])
      await engine.port.recordRefusal({ key: 'proposal_caps', reason });
    const events = await engine.db.sql(
      "select data from ops_agent_events where type = 'policy:refused' order by created_at",
    );
    const { version } = await engine.db.one(
      "select version::int from ops_policy where key = 'proposal_caps'",
    );
    expect(events.map(({ data }) => data)).toEqual(
      ['$.a is wrong', '$.b is wrong', 'x'.repeat(2000)].map((reason) => ({
        key: 'proposal_caps',
        reason,
        version,
      })),
    );
  });

  test('of a write or a rollback through the client reaches the caller, and leaves its trace', async () => {
    const key = 'proposal_caps';
    const bad = setPolicyOrAlarm(engine.port, { key, value: { daily_limit: -1 } });
    await expect(bad).rejects.toMatchObject({
      code: 'OPS_008',
      message: expect.stringContaining('$.daily_limit'),
    });
    // No refusal of a value, so no alarm.
    await expect(rollbackPolicyOrAlarm(engine.port, { key, version: 4711 })).rejects.toMatchObject({
      code: 'OPS_012',
    });
    const events = await engine.db.sql(
      "select outcome, data from ops_agent_events where type = 'policy:refused'",
    );
    expect(events).toMatchObject([
      {
        outcome: 'unmatched',
        data: { key, reason: expect.stringContaining('$.daily_limit is -1, below 0') },
      },
    ]);
    const { version } = await setPolicyOrAlarm(engine.port, { key, value: { daily_limit: 1 } });
    expect(await rollbackPolicyOrAlarm(engine.port, { key, version })).toEqual({ key, version });
  });
});
