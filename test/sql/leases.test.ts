/** Leases: renewed, lost, given back, and what a claim, a cancel and a failure at the same moment make of a step. */
import { describe, expect, test } from 'vitest';
import { advanceClock, setClock } from '../support/clock.js';
import { blocked, hold, inTransaction, noop, only, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const side = (count: number) => Array.from({ length: count }, (_, n) => noop(`s${n}`, { depends_on: [] }));
const attempts = async () =>
  (await db.sql('select status from ops_action_runs order by started_at')).map((r) => r.status);
const letters = () => db.sql('select cause from ops_step_dead_letters');

describe('a renewal', () => {
  test('extends live leases in one call and leaves updated_at alone', async () => {
    await setClock(db.sql, { at: '2026-03-01T10:00:00Z' });
    const mission = await engine.mission(side(2));
    const leases = await engine.claim();
    await advanceClock(db.sql, '20 seconds');
    expect(await engine.renew(leases, 90)).toMatchObject([{ held: true }, { held: true }]);
    for (const step of await engine.steps(mission))
      expect(step).toMatchObject({
        lease_expires_at: new Date('2026-03-01T10:01:50Z'),
        reserved_at: new Date('2026-03-01T10:00:00Z'),
        updated_at: new Date('2026-03-01T10:00:00Z'),
      });
  });

  test('answers lost for a lease that ran out, also before anybody recovered it', async () => {
    const mission = await engine.mission(side(1));
    const leases = await engine.claim();
    await advanceClock(db.sql, '61 seconds');
    expect(await engine.renew(leases)).toMatchObject([
      { held: false, cancel_requested: false, halted: false },
    ]);
    expect(only(await engine.steps(mission))).toMatchObject({ status: 'running' });
  });

  test('answers cancel when the mission was cancelled meanwhile', async () => {
    const mission = await engine.mission([noop('one'), noop('two')]);
    const leases = await engine.claim();
    await engine.port.cancelMission({ id: mission });
    expect(await engine.renew(leases)).toMatchObject([{ held: true, cancel_requested: true }]);
    expect(await engine.fail(leases, 'retryable')).toMatchObject([{ held: true, status: 'cancelled' }]);
    expect(await engine.missionRow(mission)).toMatchObject({
      status: 'cancelled',
      open_steps: 0,
      cancelled_steps: 2,
    });
    expect(await letters()).toEqual([]);
  });

  test('leaves out a step that somebody is writing, and renews the others without waiting', async () => {
    const mission = await engine.mission(side(2));
    const leases = await engine.claim();
    const busy = await engine.step(mission, 's0');
    const letGo = await hold(db, 'select from ops_mission_steps where id = $1 for update', [busy.id]);
    const answers = await engine.renew(leases);
    await letGo();
    expect(only(answers)).toMatchObject({ held: true });
    expect(only(answers).step_id).not.toBe(busy.id);
  });
});

describe('a release', () => {
  test('gives a step back with no attempt counted', async () => {
    const mission = await engine.mission(side(1));
    await engine.release(await engine.claim());
    expect(only(await engine.steps(mission))).toMatchObject({
      status: 'queued',
      failure_count: 0,
      crash_count: 0,
    });
    expect(only(await engine.claim())).toMatchObject({ attempt: 1, lease_epoch: 2 });
    expect((await attempts()).sort()).toEqual(['released', 'started']);
  });

  test('of an old and the present lease of a step says of each whether it held', async () => {
    await engine.mission([noop('one')]);
    const old = only(await engine.claim());
    await engine.release([old]);
    const present = only(await engine.claim());
    const said = await engine.release([old, present]);
    expect(said.map(({ lease_epoch, held }) => [lease_epoch, held])).toEqual([
      [old.lease_epoch, false],
      [present.lease_epoch, true],
    ]);
  });

  test('ends a step whose mission was cancelled meanwhile', async () => {
    const mission = await engine.mission(side(1));
    const leases = await engine.claim();
    await engine.port.cancelMission({ id: mission });
    expect(await engine.release(leases)).toMatchObject([{ held: true, status: 'cancelled' }]);
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'cancelled' });
  });

  test('into a mission that failed meanwhile skips the step: it has not started', async () => {
    const mission = await engine.mission(side(2));
    const [first, second] = await engine.claim();
    if (first === undefined || second === undefined) throw new Error('two steps were expected');
    await engine.fail([first], 'permanent');
    await engine.release([second]);
    expect(await engine.statuses(mission)).toEqual({ [first.key]: 'failed', [second.key]: 'skipped' });
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'failed' });
  });
});

describe('a claim that is on its way', () => {
  test('keeps its step from a cancel at the same moment, which then asks it to stop', async () => {
    const mission = await engine.mission(side(2));
    const claim = await inTransaction(db, "select from ops_claim_steps('w', '{noop}', 1)");
    const cancel = engine.port.cancelMission({ id: mission });
    await blocked(db, 1, 'the cancel waits for the step that is being claimed');
    await claim.query('commit');
    expect(await cancel).toMatchObject({ status: 'running' });
    expect(Object.values(await engine.statuses(mission)).sort()).toEqual(['cancelled', 'running']);
    const running = (await engine.steps(mission)).filter(({ status }) => status === 'running');
    const leases = running.map(({ id, lease_epoch }) => ({ id, lease_epoch: Number(lease_epoch) }));
    expect(await engine.renew(leases)).toMatchObject([{ held: true, cancel_requested: true }]);
    await engine.fail(leases, 'cancelled');
  });

  test('keeps its step from being skipped for a sibling that fails at the same moment', async () => {
    const mission = await engine.mission(side(3));
    const first = await engine.claim(1);
    const claim = await inTransaction(db, "select from ops_claim_steps('w', '{noop}', 1)");
    const failure = engine.fail(first, 'permanent');
    await blocked(db, 1, 'the failure waits for the step that is being claimed');
    await claim.query('commit');
    await failure;
    expect(Object.values(await engine.statuses(mission)).sort()).toEqual(['failed', 'running', 'skipped']);
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'running', open_steps: 1 });
  });
});

describe('cancelling a mission', () => {
  test('ends what has not started at once and asks the rest to stop; a second call changes nothing', async () => {
    const mission = await engine.mission([noop('runs'), noop('waits')]);
    const leases = await engine.claim();
    expect(await engine.port.cancelMission({ id: mission })).toMatchObject({ status: 'running' });
    expect(await engine.statuses(mission)).toEqual({ runs: 'running', waits: 'cancelled' });
    const before = await engine.step(mission, 'waits');
    await engine.port.cancelMission({ id: mission });
    expect(await engine.step(mission, 'waits')).toEqual(before);
    await engine.complete(leases);
    expect(await engine.missionRow(mission)).toMatchObject({
      status: 'cancelled',
      completed_at: expect.any(Date),
    });
    expect(await db.sql("select from ops_agent_events where type = 'mission:cancelled'")).toHaveLength(1);
  });

  test('whose worker is dead ends with the lease', async () => {
    const mission = await engine.mission(side(1));
    await engine.claim();
    await engine.port.cancelMission({ id: mission });
    await advanceClock(db.sql, '61 seconds');
    await engine.port.recoverExpiredLeases();
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'cancelled' });
  });

  test('and retrying it runs it on from its last good step', async () => {
    const mission = await engine.mission([noop('one'), noop('two'), noop('three')]);
    await engine.complete(await engine.claim(), { n: 1 });
    await engine.port.cancelMission({ id: mission });
    expect(await engine.port.retryMission({ id: mission })).toMatchObject({ status: 'running', steps: 2 });
    expect(await engine.statuses(mission)).toEqual({ one: 'succeeded', two: 'queued', three: 'blocked' });
    await engine.complete(await engine.claim());
    await engine.complete(await engine.claim());
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'succeeded' });
  });
});
