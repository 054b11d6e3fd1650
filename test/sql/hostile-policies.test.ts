/** Policies and templates beyond their bounds are refused once; those at their bounds work. Shared parts and the statement timeout: hostile-kit.ts. */
import { beforeEach, describe, expect, test } from 'vitest';
import { rollbackPolicyOrAlarm, setPolicyOrAlarm } from '../../supabase/client/policy.js';
import { type Json, noop } from './engine-kit.js';
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
    ['alerts', '{"rules": {"queued_steps": {"warning": 1e400}}}'],
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

  test('of a statement is rolled back with it, and told by the next beat all the same, once', async () => {
    const told = () =>
      engine.db.sql<{ refused: string | null }>(
        "select data ->> 'refused' as refused from ops_agent_events where type = 'policy:refused'",
      );
    await engine.db.sql('select ops_tell_refusals()');
    await engine.db.sql("delete from ops_agent_events where type = 'policy:refused'");
    const before = await engine.db.one("select value from ops_policy where key = 'proposal_caps'");
    const bad = `update ops_policy set value = '{"daily_limit": "many"}' where key = 'proposal_caps'`;
    for (let i = 0; i < 2; i++) await expect(engine.db.sql(bad)).rejects.toMatchObject({ code: 'OP008' });
    expect(await told()).toEqual([]);
    await Promise.all([engine.port.heartbeat(), engine.port.heartbeat(), engine.port.heartbeat()]);
    await engine.port.heartbeat();
    expect(await told()).toEqual([{ refused: '2' }]);
    expect(await engine.db.one("select value from ops_policy where key = 'proposal_caps'")).toEqual(before);
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
    // It has been told: the beat does not tell it again.
    await engine.port.heartbeat();
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
