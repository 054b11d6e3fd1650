/** Operators' own statements (the runbooks' SQL) are an interface: typed as they stand there, they work. */
import { describe, expect, test } from 'vitest';
import { until } from '../support/until.js';
import { noop, only, reviveByHand, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const pattern = { id: 'p', event_type: 'a:b', template: { title: 'work', steps: [noop('one')] } };

/** Claims and completes until nothing is queued. */
async function work(): Promise<void> {
  for (let claimed = await engine.claim(); claimed.length > 0; claimed = await engine.claim())
    await engine.complete(claimed, { ok: true });
}

/** A finished mission of ten steps and one that is under way. */
async function aged(): Promise<{ finished: string; open: string }> {
  const finished = await engine.mission(
    Array.from({ length: 10 }, (_, n) => noop(`s${n}`, { depends_on: [] })),
  );
  await work();
  const open = await engine.mission([noop('runs'), noop('waits')]);
  await engine.claim();
  return { finished, open };
}

/** The whole loop once: event, reaction, proposal, mission, two steps, a failure and its retry. */
async function wholeLoop(): Promise<void> {
  const steps = [noop('one'), noop('two', { params: { echo: '{{steps.one.result.ok}}' } })];
  await engine.patterns({ ...pattern, template: { title: 'work {{event.data.n}}', steps } });
  await engine.emit('a:b', { n: 1 });
  await engine.beat('sql');
  await engine.fail(await engine.claim(), 'permanent');
  await db.sql(`${reviveByHand} where status = 'failed'`);
  await work();
  expect(await db.sql('select status, title from ops_missions')).toEqual([
    { status: 'succeeded', title: 'work 1' },
  ]);
  expect(only(await db.sql("select params from ops_mission_steps where key = 'two'"))).toEqual({
    params: { echo: true },
  });
}

describe('a mission', () => {
  test('whose steps were truncated can be cancelled, and says that it ended', async () => {
    const id = await engine.mission([noop('one')]);
    await db.sql('truncate ops_mission_steps');
    expect(await engine.port.cancelMission({ id })).toMatchObject({ status: 'cancelled' });
    expect(await db.sql("select from ops_agent_events where type = 'mission:cancelled'")).toHaveLength(1);
    expect(await engine.port.checkInvariants()).toEqual([]);
  });

  test('named twice in one look is counted once', async () => {
    const id = await engine.mission([noop('one'), noop('two')]);
    await engine.claim(1);
    await db.sql('select ops_refresh_missions(array[$1, $1]::uuid[])', [id]);
    expect(await engine.missionRow(id)).toMatchObject({ open_steps: 2 });
  });
});

describe('a step', () => {
  test.each([
    "params = 'null'",
    "params = '[1]'",
    "timeout_seconds = 'NaN'",
    'timeout_seconds = 0',
    'failure_count = 2147483647',
    'crash_count = -5',
    'max_retries = 0',
    "kind = 'a b c'",
    "executor = ''",
  ])('that no worker could run, such as with %s, is refused: its neighbours go on', async (change) => {
    await engine.mission([noop('one')]);
    await expect(db.sql(`update ops_mission_steps set ${change}`)).rejects.toMatchObject({
      code: expect.stringMatching(/^(OP011|23514)$/),
    });
    // The refused statement lets go of the row a moment after it has answered.
    await until(
      async () => {
        await work();
        return (await db.one('select status from ops_mission_steps')).status === 'succeeded';
      },
      { what: 'the step to run' },
    );
  });
});

describe('a policy', () => {
  test('is edited with jsonb_set: validated, versioned, recorded and in force at once', async () => {
    await engine.patterns(pattern);
    const { version } = await db.one("select version from ops_policy where key = 'reaction_matrix'");
    await db.sql(
      `update ops_policy set value = jsonb_set(value, '{patterns,0,event_type}', '"c:d"') where key = 'reaction_matrix'`,
    );
    await engine.emit('a:b');
    await engine.emit('c:d');
    await engine.beat();
    expect(await db.sql('select type, outcome, revision from ops_agent_events order by type')).toEqual([
      { type: 'a:b', outcome: 'unmatched', revision: String(Number(version) + 1) },
      { type: 'c:d', outcome: 'fired', revision: String(Number(version) + 1) },
    ]);
    expect(
      await db.one(
        "select old_value #>> '{patterns,0,event_type}' as old, new_value #>> '{patterns,0,event_type}' as new, changed_by from ops_policy_audit where policy_key = 'reaction_matrix' order by version desc limit 1",
      ),
    ).toEqual({
      old: 'a:b',
      new: 'c:d',
      changed_by: 'postgres',
    });
  });

  test('that would be invalid is refused with code, path and remedy, and the old one stays in force', async () => {
    await engine.patterns(pattern);
    await expect(
      db.sql(
        `update ops_policy set value = jsonb_set(value, '{patterns,0,template,steps,0,kind}', '"teleport"') where key = 'reaction_matrix'`,
      ),
    ).rejects.toMatchObject({
      code: 'OP008',
      message: expect.stringContaining('$.patterns[0].template.steps[0].kind'),
      hint: expect.stringMatching(/\S/),
      detail: expect.stringContaining('OPS_005'),
    });
    await engine.emit('a:b');
    await engine.beat();
    expect(await db.sql('select status from ops_missions')).toEqual([{ status: 'approved' }]);
  });
});

describe('an event', () => {
  test('inserted with type and data is decided at the next beat', async () => {
    await engine.patterns({ ...pattern, where: '$.data.n == 7 && $.source == "manual"' });
    await db.sql(`insert into ops_agent_events (type, data) values ('a:b', '{"n": 7}'), ('a:b', '{"n": 8}')`);
    await engine.beat();
    expect(await db.sql("select data -> 'n' as n, outcome, trust from ops_agent_events order by 1")).toEqual([
      { n: 7, outcome: 'fired', trust: 'verified' },
      { n: 8, outcome: 'unmatched', trust: 'verified' },
    ]);
  });

  test("with processed_at = null is decided again under today's matrix; what fired stays fired", async () => {
    await engine.patterns(pattern);
    await engine.emit('a:b');
    await engine.emit('x:y');
    await engine.beat();
    await engine.patterns(pattern, { ...pattern, id: 'q', event_type: ['a:b', 'x:y'] });
    await db.sql('update ops_agent_events set processed_at = null');
    await engine.beat();
    expect(
      await db.sql(
        'select e.type, pattern_id from ops_agent_reactions r join ops_agent_events e on e.id = r.event_id order by 1, 2',
      ),
    ).toEqual([
      { type: 'a:b', pattern_id: 'p' },
      { type: 'a:b', pattern_id: 'q' },
      { type: 'x:y', pattern_id: 'q' },
    ]);
    await engine.patterns();
    await db.sql('update ops_agent_events set processed_at = null');
    await engine.beat();
    expect(
      await db.sql("select type, outcome from ops_agent_events where source <> 'ops-loop' order by 1"),
    ).toEqual([
      { type: 'a:b', outcome: 'fired' },
      { type: 'x:y', outcome: 'fired' },
    ]);
    expect(await db.sql('select from ops_missions')).toHaveLength(3);
  });

  test('closed by hand needs an outcome', async () => {
    await engine.emit('a:b');
    await expect(db.sql('update ops_agent_events set processed_at = now()')).rejects.toMatchObject({
      constraint: 'ops_agent_events_closed_has_outcome',
    });
  });
});

describe('steps', () => {
  test('that failed are queued again by hand, all at once: missions recover, letters are closed', async () => {
    const missions = [
      await engine.mission([noop('one'), noop('two')]),
      await engine.mission([noop('one'), noop('two')]),
    ];
    await engine.fail(await engine.claim(), 'permanent');
    for (const mission of missions)
      expect(await engine.statuses(mission)).toEqual({ one: 'failed', two: 'skipped' });
    await db.sql(`${reviveByHand} where status = 'failed' and failure_count >= coalesce(max_retries, 3)`);
    for (const mission of missions) {
      expect(await engine.statuses(mission)).toEqual({ one: 'queued', two: 'blocked' });
      expect(await engine.missionRow(mission)).toMatchObject({ status: 'running', completed_at: null });
    }
    await work();
    expect(await db.sql('select distinct status from ops_missions')).toEqual([{ status: 'succeeded' }]);
    expect(await db.sql("select from ops_step_dead_letters where state = 'open'")).toEqual([]);
  });

  test('are archived, deleted, truncated and refilled, and finished missions stand without them', async () => {
    const { finished, open } = await aged();
    await db.sql('create table ops_mission_steps_archive (like ops_mission_steps including all)');
    try {
      await db.sql(
        "insert into ops_mission_steps_archive select * from ops_mission_steps where status in ('succeeded', 'failed')",
      );
      await db.sql(
        "delete from ops_mission_steps where status in ('succeeded', 'failed') and updated_at < now() + interval '1 hour'",
      );
      expect(await engine.steps(finished)).toEqual([]);
      expect(await engine.missionRow(finished)).toMatchObject({ status: 'succeeded' });
      await engine.beat('sql');
      await db.sql('insert into ops_mission_steps select * from ops_mission_steps_archive');
      expect(await engine.steps(finished)).toHaveLength(10);
      await db.sql(
        'create temporary table kept as select * from ops_mission_steps; truncate ops_mission_steps; insert into ops_mission_steps select * from kept; drop table kept',
      );
      expect(await engine.statuses(open)).toEqual({ runs: 'running', waits: 'blocked' });
      await engine.complete(
        await db.sql("select id, lease_epoch::int from ops_mission_steps where key = 'runs'"),
      );
      await work();
      expect(await engine.missionRow(open)).toMatchObject({ status: 'succeeded', open_steps: 0 });
      await engine.port.checkInvariants().then((rows) => expect(rows).toEqual([]));
    } finally {
      await db.sql('drop table ops_mission_steps_archive');
    }
  });

  test('that still have to end cannot be deleted, nor a mission that does', async () => {
    await aged();
    for (const table of ['ops_mission_steps', 'ops_missions'])
      await expect(db.sql(`delete from ${table}`)).rejects.toMatchObject({
        code: 'OP015',
        hint: expect.stringContaining('ops_cancel_mission'),
      });
  });

  test('and missions are kept for ninety days, then they may be deleted', async () => {
    const { finished } = await aged();
    const clean = () => db.sql("delete from ops_missions where status = 'succeeded'");
    await expect(clean()).rejects.toMatchObject({ code: 'OP015' });
    await db.sql("update ops_missions set completed_at = now() - interval '91 days' where id = $1", [
      finished,
    ]);
    await db.sql(
      "update ops_mission_proposals set created_at = now() - interval '92 days', approved_at = now() - interval '91 days' where id = (select proposal_id from ops_missions where id = $1)",
      [finished],
    );
    await clean();
    expect(await db.sql('select from ops_missions')).toHaveLength(1);
    await db.sql('delete from ops_mission_steps where mission_id = $1', [finished]);
  });

  test.each([
    ['insert into ops_missions (proposal_id) values (gen_random_uuid())', 'ops_create_proposal'],
    [
      "insert into ops_mission_steps (mission_id, key, kind, executor, status) values (gen_random_uuid(), 'k', 'noop', 'noop', 'queued')",
      'ops_create_proposal',
    ],
    ["update ops_missions set status = 'succeeded', completed_at = now()", 'ops_cancel_mission'],
    ["update ops_mission_steps set status = 'succeeded'", 'ops_cancel_mission'],
    ['update ops_mission_steps set lease_epoch = 9', undefined],
    ["update ops_policy_history set value = '{}'", 'ops_set_policy'],
    ['delete from ops_policy_history', 'ops_set_policy'],
    ['truncate ops_policy_history', 'ops_set_policy'],
    ["update ops_policy set key = 'other' where key = 'worker_policy'", 'Insert the new key'],
  ])('%s is refused with code, message and hint', async (statement, hint) => {
    await aged();
    await expect(db.sql(statement)).rejects.toMatchObject({
      code: 'OP015',
      message: expect.stringMatching(/\S/),
      ...(hint === undefined ? {} : { hint: expect.stringContaining(hint) }),
    });
  });
});

describe('added columns', () => {
  const tables = [
    'ops_agent_events',
    'ops_mission_steps',
    'ops_missions',
    'ops_mission_proposals',
    'ops_agent_reactions',
    'ops_action_runs',
    'ops_step_dead_letters',
    'ops_demand_radar',
    'ops_policy',
  ];

  test('break nothing, also in connections that know the old ones', async () => {
    await wholeLoop();
    await db.sql(
      tables
        .map(
          (table) =>
            `alter table ${table} add column metadata jsonb default '{"note": 1}', add column new_field text`,
        )
        .join(';'),
    );
    try {
      await engine.reset();
      await wholeLoop();
      await db.sql(
        "update ops_agent_events set new_field = 'seen'; update ops_mission_steps set metadata = '{}'; update ops_missions set new_field = 'x'",
      );
      expect(await engine.port.listProposals()).toHaveLength(1);
      expect(await engine.port.listDeadLetters({ state: 'requeued' })).toHaveLength(1);
      await engine.port.radarAdd({ signals: [{ title: 'dark mode' }] });
      expect(await engine.port.radarList()).toHaveLength(1);
      await db.sql('create table ops_mission_steps_archive (like ops_mission_steps including all)');
      await db.sql('insert into ops_mission_steps_archive select * from ops_mission_steps');
    } finally {
      await db.sql('drop table if exists ops_mission_steps_archive');
      await db.sql(
        tables.map((table) => `alter table ${table} drop column metadata, drop column new_field`).join(';'),
      );
    }
    await engine.reset();
    await wholeLoop();
  });

  test('are notes: writing them moves no updated_at and wakes no trigger', async () => {
    await aged();
    await db.sql('alter table ops_mission_steps add column new_field text');
    try {
      const before = await db.sql('select id, updated_at from ops_mission_steps order by id');
      await db.sql("update ops_mission_steps set new_field = 'looked at by Ann'");
      expect(await db.sql('select id, updated_at from ops_mission_steps order by id')).toEqual(before);
    } finally {
      await db.sql('alter table ops_mission_steps drop column new_field');
    }
  });
});
