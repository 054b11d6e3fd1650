/** What an event may hold and still be decided once, in time. Shared parts and the statement timeout: hostile-kit.ts. */
import { describe, expect, test } from 'vitest';
import { type Json, only } from './engine-kit.js';
import {
  beat,
  decisions,
  emit,
  engine,
  impatient,
  pattern,
  row,
  setPatterns,
  template,
} from './hostile-kit.js';

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
