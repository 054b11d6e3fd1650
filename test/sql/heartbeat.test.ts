/** The heartbeat: any number at once equal one, a killed one leaves nothing half done, phases fail alone. */
import { describe, expect, test } from 'vitest';
import { advanceClock } from '../support/clock.js';
import type { TestDatabase } from '../support/database.js';
import { blocked, hold, type Json, noop, only, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const template: Json = { title: 'work', steps: [noop('one')] };
const pattern = (more: { [key: string]: Json } = {}) => ({ id: 'p', event_type: 'a:b', template, ...more });
const emit = (count: number) =>
  engine.port.emitEvents({ events: Array.from({ length: count }, (_, n) => ({ type: 'a:b', data: { n } })) });

/** Everything that a beat may change, as one text. */
const world = async (database: TestDatabase = db) =>
  JSON.stringify(
    await database.sql(`select
      (select json_agg(e order by e.id) from ops_agent_events e) as events, (select json_agg(d order by d) from ops_event_decisions d) as decisions,
      (select json_agg(r order by r.id) from ops_agent_reactions r) as reactions, (select json_agg(p order by p.id) from ops_mission_proposals p) as proposals,
      (select json_agg(m order by m.id) from ops_missions m) as missions, (select json_agg(s order by s.id) from ops_mission_steps s) as steps,
      (select json_agg(l order by l.key) from ops_limits l) as limits, (select json_agg(b order by b.id) from ops_heartbeats b) as beats,
      (select json_agg(x order by x.id) from ops_step_dead_letters x) as letters, (select json_agg(a order by a.run_id) from ops_action_runs a) as attempts`),
  );

describe('twenty beats at once', () => {
  test('over a thousand events equal one', async () => {
    await engine.patterns(
      pattern({ where: '$.data.n >= 500' }),
      pattern({ id: 'q', cooldown_minutes: 60 }),
      pattern({ id: 'r', limit: { count: 9, per_minutes: 60 } }),
    );
    await emit(1000);
    const rounds = await Promise.all(
      Array.from({ length: 20 }, () =>
        engine.port.heartbeat({ source: 'cron', eventBatch: 40, reactionBatch: 20 }),
      ),
    );
    rounds.push(...(await engine.beat('cron')));
    expect(rounds.flatMap(({ failures }) => failures)).toEqual([]);
    expect(rounds.reduce((sum, { triggerResult }) => sum + triggerResult.events, 0)).toBe(1000);
    expect(rounds.reduce((sum, { triggerResult }) => sum + triggerResult.queued, 0)).toBe(510);
    expect(rounds.reduce((sum, { reactionResult }) => sum + reactionResult.created, 0)).toBe(510);
    expect(
      await db.sql('select pattern_id, count(*)::int as n from ops_mission_proposals group by 1 order by 1'),
    ).toEqual([
      { pattern_id: 'p', n: 500 },
      { pattern_id: 'q', n: 1 },
      { pattern_id: 'r', n: 9 },
    ]);
    expect(await db.sql('select distinct proposal_id from ops_missions')).toHaveLength(510);
    expect(await db.sql("select from ops_agent_reactions where status <> 'done'")).toEqual([]);
    expect(await engine.port.checkInvariants()).toEqual([]);
  });
});

describe('a beat that is killed', () => {
  const points: [string, string][] = [
    ['deciding', "select from ops_limits where key like 'cooldown:%' for update"],
    ['gating', "select from ops_limits where key = 'proposal_caps' for update"],
    ['recording itself', 'lock table ops_heartbeats in exclusive mode'],
    ['making missions', 'lock table ops_missions in exclusive mode'],
    ['queueing reactions', 'lock table ops_agent_reactions in exclusive mode'],
  ];
  /** Every phase has something to do, and the rows that a beat locks are there already. */
  async function prepare(): Promise<void> {
    await engine.patterns(pattern({ cooldown_minutes: 0.001 }));
    await engine.setPolicy('proposal_caps', { daily_limit: 100 });
    await emit(3);
    await engine.beat();
    await engine.claim(1, ['noop'], -1);
    await advanceClock(db.sql, '5 minutes');
    await emit(5);
  }

  test.each(
    points.flatMap(
      ([where, lock]) =>
        [
          [where, 'pg_terminate_backend', lock],
          [where, 'pg_cancel_backend', lock],
        ] as const,
    ),
  )('while %s, by %s, leaves nothing half done', async (_where, kill, lock) => {
    await prepare();
    const before = await world();
    const letGo = await hold(db, lock);
    const victim = await db.connect();
    const beat = victim.query("select ops_heartbeat(p_source => 'cron')").then(
      () => 'ended',
      (error) => error.code,
    );
    const [pid] = await blocked(db, 1, 'the beat is at the chosen point');
    await db.sql(`select ${kill}($1)`, [pid]);
    expect(await beat).toBe(kill === 'pg_cancel_backend' ? '57014' : '57P01');
    await letGo();
    expect(await world()).toBe(before);
    await engine.beat('cron');
    expect(await db.sql('select from ops_agent_events where processed_at is null')).toEqual([]);
    expect(await db.sql("select status from ops_mission_steps where status = 'running'")).toEqual([]);
    expect(await engine.port.checkInvariants()).toEqual([]);
  });
});

describe('a statement that an operator left open', () => {
  test('stops no phase but its own: events are decided, the beat says what failed and why', async () => {
    await engine.setPolicy('proposal_caps', { daily_limit: 100 });
    await engine.patterns({
      id: 'p',
      event_type: 'a:b',
      template: { title: 't', steps: [{ key: 'one', kind: 'noop' }] },
    });
    await engine.port.createProposal({ template: { title: 't', steps: [{ kind: 'noop' }] } });
    await engine.emit('a:b');
    const letGo = await hold(db, "select from ops_limits where key = 'proposal_caps' for update");
    const round = await engine.port.heartbeat({ source: 'cron' });
    expect(round).toMatchObject({ ok: false, triggerResult: { queued: 1 } });
    expect(round.failures).toEqual([expect.objectContaining({ phase: 'reactions', code: '55P03' })]);
    await letGo();
    expect(await engine.port.heartbeat({ source: 'cron' })).toMatchObject({
      ok: true,
      reactionResult: { created: 1 },
    });
  });
});

describe('the answer', () => {
  test('has exactly this shape, with nothing to do', async () => {
    const { answer } = await db.one("select ops_heartbeat(p_source => 'vercel') as answer");
    expect(answer).toEqual({
      ok: true,
      more: false,
      beat_id: expect.any(String),
      triggerResult: { events: 0, queued: 0 },
      reactionResult: { processed: 0, created: 0 },
      leaseResult: { requeued_steps: 0, failed_steps: 0 },
      staleResult: { recovered: 0 },
      gateResult: { gated: 0, approved: 0, rejected: 0, expired: 0 },
      scheduleResult: { fired: 0, missed: 0, unplanned: 0 },
      failures: [],
      phases: expect.any(Number),
    });
  });

  test('says more while a phase fills its batch, and rounds of one beat are one row with their sums', async () => {
    await engine.patterns(pattern());
    await emit(25);
    let beatId: string | undefined;
    for (let more = true; more; ) {
      const round = await engine.port.heartbeat({
        source: 'vercel',
        eventBatch: 10,
        reactionBatch: 50,
        ...(beatId ? { beatId } : {}),
      });
      ({ more } = round);
      beatId = round.beat_id ?? undefined;
    }
    expect(await db.sql('select id, source, ok, rounds, counts, failures from ops_heartbeats')).toEqual([
      {
        id: beatId,
        source: 'vercel',
        ok: true,
        rounds: 3,
        counts: {
          triggerResult: { events: 25, queued: 25 },
          reactionResult: { processed: 25, created: 25 },
          leaseResult: { requeued_steps: 0, failed_steps: 0 },
          staleResult: { recovered: 0 },
          gateResult: { gated: 0, approved: 0, rejected: 0, expired: 0 },
          scheduleResult: { fired: 0, missed: 0, unplanned: 0 },
        },
        failures: [],
      },
    ]);
    expect(
      await db.sql(
        "select outcome, processed_at is not null as closed from ops_agent_events where type = 'heartbeat:success'",
      ),
    ).toEqual([{ outcome: 'unmatched', closed: true }]);
  });

  test('of a reactive round names no beat and leaves neither row nor event', async () => {
    await engine.patterns(pattern());
    await emit(1);
    expect(await engine.port.heartbeat({ source: 'reactive' })).toMatchObject({
      beat_id: null,
      triggerResult: { events: 1 },
    });
    expect(await db.sql('select from ops_heartbeats')).toEqual([]);
    expect(await db.sql("select from ops_agent_events where type like 'heartbeat:%'")).toEqual([]);
  });
});

describe('a phase that fails', () => {
  const phases: [phase: string, fn: string, args: string][] = [
    ['events', 'ops_decide_events', 'integer'],
    ['reactions', 'ops_process_reactions', 'integer'],
    ['gates', 'ops_regate_proposals', 'integer'],
    ['approvals', 'ops_expire_proposals', 'integer'],
    ['leases', 'ops_recover_expired_leases', 'integer'],
    ['stale', 'ops_recover_stale_steps', 'numeric'],
    ['lists', 'ops_spread_some', 'integer'],
    ['sweep', 'ops_sweep', ''],
    ['archive', 'ops_archive_some', ''],
    ['alerts', 'ops_raise_alerts', 'boolean'],
  ];

  // A function that is away, as in a half-applied migration, must fail its own phase only.
  test.each(phases)('%s fails alone: the others go on, and the beat says so', async (phase, fn, args) => {
    await engine.patterns(pattern());
    await emit(1);
    await engine.mission([noop('one')]);
    await engine.claim(1, ['noop'], -1);
    await db.sql(`alter function ${fn}(${args}) rename to ops_away`);
    const round = await engine.port
      .heartbeat({ source: 'cron' })
      .finally(() => db.sql(`alter function ops_away(${args}) rename to ${fn}`));
    expect(round).toMatchObject({
      ok: false,
      failures: [{ phase, code: '42883', message: expect.stringContaining(fn) }],
      triggerResult: { events: phase === 'events' ? 0 : 1 },
      leaseResult: { requeued_steps: phase === 'leases' ? 0 : 1 },
    });
    expect(await db.sql('select ok, failures from ops_heartbeats')).toEqual([
      { ok: false, failures: round.failures },
    ]);
    expect(
      await db.sql(
        "select type, data -> 'failures' as failures from ops_agent_events where type like 'heartbeat:%'",
      ),
    ).toEqual([{ type: 'heartbeat:failure', failures: round.failures }]);
    await engine.beat();
    expect(await db.sql('select from ops_agent_events where processed_at is null')).toEqual([]);
  });

  test('as a whole is recorded in a transaction of its own, into the row of its beat', async () => {
    const { beat_id } = await engine.port.heartbeat({ source: 'cron' });
    await engine.port.recordBeatFailure({
      beatId: beat_id ?? '',
      source: 'cron',
      error: 'statement timeout',
    });
    expect(only(await db.sql('select ok, rounds, failures from ops_heartbeats'))).toMatchObject({
      ok: false,
      rounds: 2,
      failures: [{ phase: 'round', message: 'statement timeout' }],
    });
    expect(await engine.port.recordBeatFailure({ source: 'cron', error: 'x' })).toEqual({
      beat_id: expect.any(String),
    });
  });
});

describe('a switch', () => {
  test.each<[string, object]>([
    ['all', { events: 0, reactions: 0 }],
    ['heartbeat', { events: 0, reactions: 0 }],
    ['reactions', { events: 1, reactions: 0 }],
  ])('on %s pauses its phases, never recovery, and nothing is lost', async (scope, expected) => {
    await engine.patterns(pattern());
    await engine.mission([noop('one')]);
    await engine.claim(1, ['noop'], -1);
    await emit(1);
    await engine.port.pause({ scope });
    const round = await engine.port.heartbeat({ source: 'cron' });
    expect({ events: round.triggerResult.events, reactions: round.reactionResult.processed }).toEqual(
      expected,
    );
    expect(round.leaseResult).toEqual({ requeued_steps: 1, failed_steps: 0 });
    await engine.port.resume({ scope });
    await engine.beat();
    expect(await db.sql('select from ops_missions')).toHaveLength(2);
  });
});
