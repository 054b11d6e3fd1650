/** `ops_archive`: finished rows go when their retention has passed; what unfinished work may still ask for stays. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Archived } from '../../supabase/client/schemas/rows.js';
import { advanceClock } from '../support/clock.js';
import { blocked, hold, inTransaction, noop, only, reviveByHand, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const counted = [
  'ops_agent_events',
  'ops_event_decisions',
  'ops_agent_reactions',
  'ops_mission_proposals',
  'ops_proposal_votes',
  'ops_missions',
  'ops_mission_steps',
  'ops_action_runs',
  'ops_step_dead_letters',
  'ops_heartbeats',
];
/** Rows of each table that has any. */
async function rows(): Promise<Record<string, number>> {
  const parts = counted.map((table) => `select '${table}' as name, count(*)::int as n from ${table}`);
  const found = await db.sql<{ name: string; n: number }>(parts.join(' union all '));
  return Object.fromEntries(found.filter(({ n }) => n > 0).map(({ name, n }) => [name, n]));
}

/** Calls until there is nothing more; answers the sums by table. */
async function archive(args: { limit?: number; dryRun?: boolean } = {}): Promise<Record<string, number>> {
  const sums: Record<string, number> = {};
  let answer: Archived | undefined;
  do {
    const cursor = answer?.cursor ?? undefined;
    answer = await engine.port.archive({ ...args, ...(cursor === undefined ? {} : { cursor }) });
    for (const [table, n] of Object.entries(answer.tables)) sums[table] = (sums[table] ?? 0) + n;
  } while (answer.more);
  return sums;
}

/** Of a kind that waits for a person. */
const unapproved = { key: 'x', kind: 'odd', executor: 'noop' };
const days = (n: number) => advanceClock(db.sql, `${n} days`);
const pattern = {
  id: 'p',
  event_type: 'a:b',
  template: { title: 'work', steps: [noop('one'), noop('two')] },
};

async function work(): Promise<void> {
  for (let claimed = await engine.claim(); claimed.length > 0; claimed = await engine.claim())
    await engine.complete(claimed);
}

/** A row of every kind, and everything finished: fired, unmatched, rejected, voted on, failed, revived, done. */
async function everything(): Promise<void> {
  await engine.patterns(pattern);
  await engine.emit('a:b', { n: 1 });
  await engine.emit('nobody:listens');
  await engine.beat('sql');
  await engine.fail(await engine.claim(), 'permanent');
  await db.sql(`${reviveByHand} where status = 'failed'`);
  await work();
  const asked = await engine.port.createProposal({
    template: { title: 'no', risk_level: 'critical', steps: [noop('one'), unapproved] },
  });
  await db.sql(
    "insert into ops_proposal_votes (proposal_id, voter, vote, person) values ($1, 'ann', 'reject', true)",
    [asked.id],
  );
  await engine.port.rejectProposal({ id: asked.id, actor: 'ann' });
  for (let n = 0; n < 12; n++) await engine.port.heartbeat({ source: 'cron' });
}

beforeEach(async () => {
  await db.sql("delete from ops_proposal_votes; delete from ops_policy where key = 'retention'");
});

describe('what is finished', () => {
  test('stays for ninety days, then goes, but for the latest beats; a dry run says the same and deletes nothing', async () => {
    await everything();
    const before = await rows();
    expect(Object.keys(before).sort()).toEqual([...counted].sort());
    await days(89);
    expect(await archive()).toEqual({});
    await days(2);
    const told = await archive({ dryRun: true });
    expect(await rows()).toEqual(before);
    expect(told).toEqual({ ...before, ops_heartbeats: (before.ops_heartbeats ?? 0) - 10 });
    expect(await archive()).toEqual(told);
    expect(await rows()).toEqual({ ops_heartbeats: 10 });
    expect(await archive()).toEqual({});
  });

  test('goes table by table as the policy says', async () => {
    await everything();
    await engine.setPolicy('retention', {
      days: 50,
      runs_days: 5,
      heartbeats_days: 7,
      dead_letters_days: 80,
    });
    await days(6);
    expect(Object.keys(await archive())).toEqual(['ops_action_runs']);
    await days(2);
    expect(Object.keys(await archive())).toEqual(['ops_heartbeats']);
    await days(43);
    await archive();
    expect(Object.keys(await rows())).toEqual(['ops_step_dead_letters', 'ops_heartbeats']);
    await days(30);
    await archive();
    expect(Object.keys(await rows())).toEqual(['ops_heartbeats']);
  });

  test('never goes within a day, and what a cap may count not within two', async () => {
    await engine.setPolicy('retention', { days: 0.01 });
    await engine.mission([noop('one')]);
    await work();
    await advanceClock(db.sql, '23 hours');
    expect(await archive()).toEqual({});
    await advanceClock(db.sql, '2 hours');
    expect(Object.keys(await archive()).sort()).toEqual(
      ['ops_action_runs', 'ops_agent_events', 'ops_mission_steps', 'ops_missions'].sort(),
    );
    await days(1);
    expect(await archive()).toEqual({ ops_mission_proposals: 1 });
  });

  test('and what a breaker looks at stays for its window', async () => {
    await engine.setPolicy('retention', { days: 1 });
    await engine.setPolicy('worker_policy', { breaker: { window_minutes: 3 * 1440 } });
    const mission = await engine.mission([noop('one')]);
    await engine.fail(await engine.claim(), 'permanent');
    await engine.port.retryMission({ id: mission });
    await work();
    await days(2);
    await archive();
    expect(Object.keys(await rows())).toEqual(['ops_agent_events', 'ops_step_dead_letters']);
    await days(2);
    await archive();
    expect(await rows()).toEqual({});
  });

  test('was let go under a shorter retention: a longer one later misses nothing', async () => {
    await everything();
    await engine.setPolicy('retention', { days: 90, missions_days: 2, dead_letters_days: 2 });
    await days(3);
    await archive();
    await engine.setPolicy('retention', { days: 365 });
    expect(await engine.port.checkInvariants()).toEqual([]);
  });

  test('goes of schedules too: slots that fired or were missed, but for the latest, and within the look back', async () => {
    const event = { type: 'tick:tock' };
    await engine.setPolicy('schedules', {
      schedules: [{ id: 'often', cron: '0 * * * *', event, look_back_minutes: 101 * 1440 }],
    });
    await db.sql(`insert into ops_schedule_slots (schedule_id, slot_at, state, handled_at)
      select 'often', ops_clock() - n * interval '10 days', case when n % 2 = 0 then 'fired' else 'missed' end, ops_clock() - n * interval '10 days'
      from generate_series(1, 20) n union all select 'gone', ops_clock() - interval '300 days', 'fired', ops_clock() - interval '300 days'`);
    await db.sql(
      "insert into ops_schedule_slots (schedule_id, slot_at) values ('often', ops_clock() - interval '400 days')",
    );
    try {
      expect(await archive({ dryRun: true })).toEqual({ ops_schedule_slots: 10 });
      expect(await archive()).toEqual({ ops_schedule_slots: 10 });
      await engine.setPolicy('schedules', { schedules: [] });
      expect(await archive()).toEqual({ ops_schedule_slots: 2 });
      expect(await db.sql("select from ops_schedule_slots where state = 'planned'")).toHaveLength(1);
    } finally {
      await db.sql("delete from ops_schedule_slots; delete from ops_policy where key = 'schedules'");
    }
  });

  test('and lost its owner to a person goes by itself', async () => {
    await everything();
    await days(91);
    await db.sql(
      "select set_config('ops.engine', 'on', false); delete from ops_agent_events; delete from ops_missions; delete from ops_mission_proposals; select set_config('ops.engine', '', false)",
    );
    const left = await rows();
    expect(await archive({ dryRun: true })).toEqual(await archive());
    expect(left).toMatchObject({ ops_mission_steps: 2, ops_agent_reactions: 1, ops_proposal_votes: 1 });
    expect(await rows()).toEqual({ ops_heartbeats: 10 });
  });
});

describe('what is not finished', () => {
  test('stays however old it is, with all that it may ask for, and goes once it has ended', async () => {
    await engine.patterns(pattern);
    await engine.emit('a:b');
    await engine.beat();
    await engine.complete(await engine.claim());
    await engine.port.createProposal({
      template: { title: 'ask', risk_level: 'critical', steps: [unapproved] },
    });
    await engine.port.pause({ scope: 'heartbeat' });
    await engine.emit('a:b', { late: true });
    await engine.mission([noop('runs'), noop('waits')]);
    const running = await engine.claim(1);
    await days(400);
    // What nobody asks for any more: the attempt that succeeded, and the loop's own closed events.
    expect(await archive()).toEqual({ ops_action_runs: 1, ops_agent_events: 2 });
    expect(await rows()).toMatchObject({
      ...{ ops_mission_proposals: 3, ops_missions: 2, ops_mission_steps: 4, ops_action_runs: 1 },
      ...{ ops_agent_events: 2, ops_event_decisions: 1, ops_agent_reactions: 1 },
    });
    await engine.complete(running);
    await engine.port.resume({ scope: 'heartbeat' });
    await engine.beat();
    await work();
    for (const { id } of await engine.port.listProposals({ status: 'pending' }))
      await engine.port.rejectProposal({ id });
    await days(91);
    await archive();
    expect(await rows()).toEqual({});
  });

  test('an open dead letter keeps its mission, attempts and event: it can be requeued after years', async () => {
    await engine.patterns(pattern);
    await engine.emit('a:b');
    await engine.beat();
    await engine.fail(await engine.claim(), 'permanent');
    const kept = await rows();
    await days(1000);
    await archive();
    expect(await rows()).toEqual({ ...kept, ops_agent_events: 1 });
    const letter = only(await engine.port.listDeadLetters());
    await engine.port.requeueDeadLetter({ id: letter.id });
    await days(91);
    expect(await archive(), 'a step that runs again keeps what it went through').toEqual({});
    await work();
    await days(91);
    await archive();
    expect(await rows()).toEqual({});
  });

  test('a chain keeps the event that began it, and its count of reactions, while anything of it is open', async () => {
    await engine.patterns(
      { ...pattern, template: { title: 'first', steps: [noop('one')] } },
      {
        id: 'next',
        event_type: 'mission:succeeded',
        template: { title: 'next', risk_level: 'critical', steps: [unapproved] },
      },
    );
    await engine.emit('a:b');
    await engine.beat();
    await work();
    await engine.beat();
    expect(await engine.port.listProposals({ status: 'pending' })).toHaveLength(1);
    await days(91);
    expect(await archive()).toMatchObject({
      ops_missions: 1,
      ops_mission_steps: 1,
      ops_mission_proposals: 1,
    });
    expect(await db.sql('select type from ops_agent_events order by created_at')).toEqual([
      { type: 'a:b' },
      { type: 'mission:succeeded' },
    ]);
    expect(await rows()).toMatchObject({ ops_agent_reactions: 2, ops_event_decisions: 2 });
    // Without the reactions nothing ties the first event to what waits; the second one's proposal does.
    await db.sql('delete from ops_agent_reactions');
    await archive();
    expect(await db.sql('select type from ops_agent_events')).toEqual([{ type: 'mission:succeeded' }]);
    await engine.reset();
  });

  test('an event that waits keeps its mission, a waiting revision the proposal that it revises', async () => {
    await engine.mission([noop('one')]);
    await work();
    const asked = await engine.port.createProposal({ template: { title: 'first', steps: [unapproved] } });
    await engine.port.reviseProposal({ id: asked.id, template: { title: 'second', steps: [unapproved] } });
    await days(91);
    await db.sql("update ops_agent_events set processed_at = null where type = 'mission:succeeded'");
    await archive();
    expect(await rows()).toMatchObject({ ops_missions: 1, ops_mission_steps: 1, ops_mission_proposals: 3 });
    await engine.beat();
    const waiting = only(await engine.port.listProposals({ status: 'pending' }));
    await engine.port.rejectProposal({ id: waiting.id });
    await days(91);
    await archive();
    expect(await rows()).toEqual({});
  });

  test('a step whose mission is gone stays for its open dead letter', async () => {
    await engine.mission([noop('one')]);
    await engine.fail(await engine.claim(), 'permanent');
    await days(91);
    await db.sql("select set_config('ops.engine', 'on', true); delete from ops_missions");
    await archive();
    expect(await rows()).toMatchObject({
      ops_mission_steps: 1,
      ops_action_runs: 1,
      ops_step_dead_letters: 1,
    });
    await engine.reset();
  });

  test('a chain whose beginning is gone is trusted by nobody', async () => {
    await engine.mission([noop('one')]);
    const trusted = () => db.one('select ops_is_untrusted(null, root_id) as untrusted from ops_missions');
    expect(await trusted()).toEqual({ untrusted: false });
    await db.sql('delete from ops_mission_proposals');
    expect(await trusted()).toEqual({ untrusted: true });
  });

  test('the history of policies, workers and the radar stay', async () => {
    await engine.port.radarAdd({ signals: [{ title: 'dark mode' }] });
    const count = () =>
      db.sql(
        'select (select count(*) from ops_policy_history) as h, (select count(*) from ops_demand_radar) as r',
      );
    const before = await count();
    await days(4000);
    await archive();
    expect(await count()).toEqual(before);
  });
});

describe('a walk', () => {
  test('goes on where the last call stopped, past rows that must stay, however small its steps', async () => {
    await engine.port.createProposals({
      proposals: Array.from({ length: 30 }, (_, n) => ({
        template: { title: `mission ${n}`, steps: [noop('one')] },
      })),
    });
    const claimed = await engine.claim(30);
    await engine.fail(claimed.slice(0, 20), 'permanent');
    await engine.complete(claimed.slice(20));
    await days(91);
    const told = await archive({ limit: 3, dryRun: true });
    expect(told).toMatchObject({ ops_missions: 10, ops_mission_proposals: 10, ops_action_runs: 10 });
    expect(await archive({ limit: 3 })).toEqual(told);
    expect(await rows()).toMatchObject({ ops_missions: 20, ops_step_dead_letters: 20 });
  });

  test('says how far it has come, and refuses what is no cursor or limit', async () => {
    await everything();
    const answer = await engine.port.archive({ limit: 1 });
    expect(answer).toMatchObject({ rows: 0, more: false, cursor: null, dry_run: false });
    expect(answer.pages.walked).toBe(answer.pages.all);
    for (const wrong of [{ limit: 0 }, { limit: 100_001 }, { cursor: -1 }, { cursor: 2 ** 52 }])
      await expect(engine.port.archive(wrong)).rejects.toMatchObject({ code: 'OPS_011' });
  });

  test('may be under way several times at once', async () => {
    await engine.port.createProposals({
      proposals: Array.from({ length: 60 }, (_, n) => ({
        template: { title: `mission ${n}`, steps: [noop('one'), noop('two')] },
      })),
    });
    await work();
    await days(91);
    const all = await archive({ dryRun: true });
    const sums = await Promise.all(Array.from({ length: 6 }, () => archive({ limit: 25 })));
    for (const table of Object.keys(all))
      expect(
        sums.reduce((sum, one) => sum + (one[table] ?? 0), 0),
        table,
      ).toBe(all[table]);
  });
});

describe('what somebody holds', () => {
  const finished = async () => {
    const mission = await engine.mission([noop('one'), noop('two')]);
    await engine.fail(await engine.claim(), 'permanent');
    const letter = only(await engine.port.listDeadLetters());
    await engine.port.discardDeadLetter({ id: letter.id, reason: 'done with' });
    await days(91);
    return mission;
  };

  test('is waited for by nobody: a step that is being revived keeps its mission and comes back whole', async () => {
    const mission = await finished();
    const operator = await inTransaction(
      db,
      "select from ops_mission_steps where mission_id = $1 and status = 'failed' for update",
      [mission],
    );
    const gone = await archive();
    expect(gone.ops_missions ?? 0).toBe(0);
    await operator.query(`${reviveByHand} where mission_id = $1 and status = 'failed'`, [mission]);
    await operator.query('commit');
    expect(await engine.statuses(mission)).toEqual({ one: 'queued', two: 'blocked' });
    await work();
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'succeeded' });
  });

  test.each([
    [
      'a mission',
      'select from ops_missions for update',
      ['ops_missions', 'ops_mission_steps', 'ops_mission_proposals'],
    ],
    ['a proposal', 'select from ops_mission_proposals for update', ['ops_mission_proposals']],
    ['an event', 'select from ops_agent_events for update', ['ops_agent_events']],
    ['an attempt', 'select from ops_action_runs for update', ['ops_action_runs']],
    ['a dead letter', 'select from ops_step_dead_letters for update', ['ops_step_dead_letters']],
  ])('%s stays for the next time', async (_what, lock, kept) => {
    await finished();
    const all = await rows();
    const release = await hold(db, lock);
    await archive();
    expect(Object.keys(await rows()).sort()).toEqual([...kept].sort());
    await release();
    await archive();
    expect(await rows()).toEqual({});
    expect(Object.keys(all)).toEqual(expect.arrayContaining(kept));
  });

  test('all attempts of a step stay while one of them is held', async () => {
    await engine.mission([noop('one')]);
    await engine.fail(await engine.claim(), 'retryable');
    await advanceClock(db.sql, '1 hour');
    await work();
    await days(91);
    const release = await hold(db, "select from ops_action_runs where status = 'succeeded' for update");
    await archive();
    expect(await rows()).toEqual({ ops_action_runs: 2 });
    await release();
    await archive();
    expect(await rows()).toEqual({});
  });

  test('an event that is opened again, and a reaction that is tried again, are not lost', async () => {
    await engine.patterns(pattern, { ...pattern, id: 'q' });
    const { id } = await engine.emit('a:b');
    await engine.beat();
    await work();
    await days(91);
    const again = await inTransaction(db, 'update ops_agent_events set processed_at = null where id = $1', [
      id,
    ]);
    await archive();
    await again.query('commit');
    expect(await db.one('select processed_at, type from ops_agent_events where id = $1', [id])).toMatchObject(
      { processed_at: null },
    );
    await engine.beat();
    await days(91);
    const retried = await inTransaction(
      db,
      "update ops_agent_reactions set status = 'queued' where event_id = $1 and pattern_id = 'q'",
      [id],
    );
    await archive();
    await retried.query('commit');
    expect(await db.sql('select from ops_agent_events where id = $1', [id])).toHaveLength(1);
    await engine.beat();
  });

  test('is looked at again when it is taken: an event that was opened again in between stays', async () => {
    await engine.patterns(pattern);
    const { id } = await engine.emit('a:b');
    await engine.beat();
    await work();
    await engine.setPolicy('retention', { days: 90, missions_days: 1000 });
    await days(91);
    // While it looks at the event's mission, it waits for us.
    const { source } = await db.one<{ source: string }>(
      "select pg_get_functiondef('ops_mission_is_asked_for'::regproc) as source",
    );
    await db.sql(source.replace('begin', 'begin perform pg_advisory_xact_lock(4711);'));
    try {
      const release = await hold(db, 'select pg_advisory_xact_lock(4711)');
      const archiving = archive();
      await blocked(db, 1, 'the archive looks at the mission');
      await db.sql('update ops_agent_events set processed_at = null where id = $1', [id]);
      await release();
      await archiving;
    } finally {
      await db.sql(source);
    }
    expect(await db.one('select processed_at from ops_agent_events where id = $1', [id])).toEqual({
      processed_at: null,
    });
    await engine.beat();
  });

  test('a reaction whose proposal is archived under its hands makes a new one', async () => {
    await engine.patterns({ ...pattern, dedupe_key: 'once' });
    await engine.emit('a:b', { n: 1 });
    await engine.beat();
    await work();
    await days(91);
    await engine.emit('a:b', { n: 2 });
    // At the moment between its two looks at the key.
    const { source } = await db.one<{ source: string }>(
      "select pg_get_functiondef('ops_events_wake'::regproc) as source",
    );
    await db.sql(`create or replace function public.ops_events_wake() returns trigger language plpgsql as $$ begin
      delete from public.ops_missions; delete from public.ops_mission_proposals where created_at < public.ops_clock() - interval '90 days'; return null; end $$`);
    try {
      await engine.port.heartbeat({ source: 'reactive' });
    } finally {
      await db.sql(source);
    }
    await engine.beat();
    expect(await db.sql("select from ops_agent_reactions where status <> 'done'")).toEqual([]);
    expect(await db.sql('select from ops_mission_proposals')).toHaveLength(1);
  });
});

describe('a beat', () => {
  const old = async () => {
    await engine.mission([noop('one')]);
    await work();
    await days(91);
  };

  test('takes nothing away before somebody has written a retention policy', async () => {
    await old();
    const before = await rows();
    await engine.beat();
    expect(await rows()).toEqual(before);
  });

  /** Beats, eleven seconds apart, until a walk has come to its end: a beat has 20 ms, and machines differ. */
  const wholeWalk = async () => {
    for (let beats = 0; beats < 200; beats++) {
      await engine.beat();
      const { place } = await db.one<{ place: number }>(
        "select used::float8 as place from ops_limits where key = 'archive'",
      );
      if (place === 0) return;
      await advanceClock(db.sql, '11 seconds');
    }
    throw new Error('a walk does not come to its end');
  };

  test('takes it away with one, a batch at a time, and rests for an hour after a walk', async () => {
    await engine.setPolicy('retention', { days: 90 });
    await old();
    await wholeWalk();
    expect(await rows()).toEqual({});
    await old();
    const began =
      "update ops_limits set window_start = ops_clock() - interval '59 minutes', updated_at = window_start where key = 'archive'";
    await db.sql(began);
    await engine.beat();
    expect(await rows()).toMatchObject({ ops_missions: 1 });
    await advanceClock(db.sql, '2 minutes');
    await wholeWalk();
    expect(await rows()).toEqual({});
  });

  test('goes on where the last one stopped, but not within ten seconds', async () => {
    await engine.setPolicy('retention', { days: 90 });
    await old();
    // Behind the missions: theirs is the first table.
    await db.sql(
      "insert into ops_limits (key, used, window_start, updated_at) values ('archive', 1::bigint << 48, ops_clock(), ops_clock())",
    );
    await engine.beat();
    expect(await rows()).toMatchObject({ ops_missions: 1, ops_action_runs: 1 });
    await advanceClock(db.sql, '11 seconds');
    await wholeWalk();
    expect(await rows()).toEqual({ ops_missions: 1, ops_mission_steps: 1, ops_mission_proposals: 1 });
  });

  test.each(['all', 'heartbeat'])('takes nothing away while %s is paused', async (scope) => {
    await engine.setPolicy('retention', { days: 90 });
    await old();
    await engine.port.pause({ scope });
    await engine.beat();
    expect(await rows()).toMatchObject({ ops_missions: 1 });
  });
});
