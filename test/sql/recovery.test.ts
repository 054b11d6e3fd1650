/** Recovery by anyone: expired leases and stale steps; and what a dead or frozen worker cannot do. */
import { describe, expect, test } from 'vitest';
import { advanceClock } from '../support/clock.js';
import { blocked, hold, inTransaction, noop, only, ref, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const side = (count: number) => Array.from({ length: count }, (_, n) => noop(`s${n}`, { depends_on: [] }));
const openclaw = { key: 'one', kind: 'openclaw', depends_on: [], params: { mode: 'exec', message: 'x' } };
const attempts = async () =>
  (await db.sql('select status from ops_action_runs order by started_at')).map((r) => r.status);
const letters = () => db.sql('select cause, attempts, failure_count, crash_count from ops_step_dead_letters');

describe('an expired lease', () => {
  async function expired(step = noop('one')) {
    const mission = await engine.mission([step]);
    const leases = await engine.claim(1, ['noop', 'openclaw']);
    await advanceClock(db.sql, '61 seconds');
    return { mission, leases };
  }

  test('requeues an idempotent step at once, and fences its worker', async () => {
    const { mission, leases } = await expired();
    expect(await engine.port.recoverExpiredLeases()).toMatchObject({ requeued_steps: 1, failed_steps: 0 });
    expect(await engine.step(mission, 'one')).toMatchObject({
      status: 'queued',
      crash_count: 1,
      failure_count: 0,
    });
    expect(await engine.complete(leases)).toMatchObject([{ held: false, status: 'queued' }]);
    expect(await engine.fail(leases, 'permanent')).toMatchObject([{ held: false, status: 'queued' }]);
    expect(await attempts()).toEqual(['crashed']);
  });

  test('of a step that is not idempotent ends in a letter of cause unknown: a person decides', async () => {
    const { mission, leases } = await expired(openclaw);
    expect(await engine.port.recoverExpiredLeases()).toMatchObject({ requeued_steps: 0, failed_steps: 1 });
    expect(await letters()).toEqual([{ cause: 'unknown', attempts: 1, failure_count: 0, crash_count: 1 }]);
    expect(await engine.complete(leases)).toMatchObject([{ held: false }]);
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'failed' });
  });

  test('of a step whose executor the policy declares safe is requeued like any other', async () => {
    await engine.setPolicy('worker_policy', { executors: { openclaw: { idempotent: true } } });
    const { mission } = await expired(openclaw);
    expect(await engine.port.recoverExpiredLeases()).toMatchObject({ requeued_steps: 1, failed_steps: 0 });
    expect(await engine.step(mission, 'one')).toMatchObject({ status: 'queued', crash_count: 1 });
    await engine.setPolicy('worker_policy', { executors: { openclaw: { idempotent: false } } });
    await engine.claim(1, ['openclaw']);
    await advanceClock(db.sql, '61 seconds');
    expect(await engine.port.recoverExpiredLeases()).toMatchObject({ requeued_steps: 0, failed_steps: 1 });
    expect(await letters()).toMatchObject([{ cause: 'unknown' }]);
  });

  test('of a step that cannot be ended holds up nobody: the others are recovered, and an event names it', async () => {
    const mission = await engine.mission(side(3));
    await engine.claim(3);
    const poison = await db.connect();
    await poison.query('set session_replication_role = replica');
    await poison.query("update ops_mission_steps set kind = 'a b', crash_count = 9 where key = 's1'");
    await poison.end();
    await advanceClock(db.sql, '61 seconds');
    expect(await engine.port.recoverExpiredLeases()).toMatchObject({ requeued_steps: 2, failed_steps: 0 });
    expect((await engine.port.recoverExpiredLeases()).requeued_steps).toBe(0);
    const { id } = await engine.step(mission, 's1');
    const event = await db.one(
      "select data->>'step_id' as id, data->>'error' as error from ops_agent_events where type = 'loop:recovery_failed'",
    );
    expect(event).toEqual({ id, error: expect.stringContaining('check constraint') });
  });

  test('that nobody recovered yet still takes the result of its worker', async () => {
    const { mission, leases } = await expired();
    expect(await engine.complete(leases)).toMatchObject([{ held: true }]);
    expect(await engine.port.recoverExpiredLeases()).toMatchObject({ requeued_steps: 0 });
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'succeeded' });
  });

  test('three times over is poison', async () => {
    const { mission } = await expired();
    for (let crash = 1; crash < 3; crash++) {
      await engine.port.recoverExpiredLeases();
      await advanceClock(db.sql, '1 hour');
      expect(only(await engine.claim())).toMatchObject({ attempt: crash + 1 });
      await advanceClock(db.sql, '61 seconds');
    }
    expect(await engine.port.recoverExpiredLeases()).toMatchObject({ failed_steps: 1 });
    expect(await letters()).toEqual([
      { cause: 'worker_crash', attempts: 3, failure_count: 0, crash_count: 3 },
    ]);
    expect(await engine.step(mission, 'one')).toMatchObject({
      status: 'failed',
      failure_count: 3,
      crash_count: 3,
    });
  });

  test('is recovered once by twenty at a time', async () => {
    await engine.mission(side(30));
    await engine.claim();
    await advanceClock(db.sql, '61 seconds');
    const answers = await Promise.all(Array.from({ length: 20 }, () => engine.port.recoverExpiredLeases()));
    expect(answers.reduce((sum, { requeued_steps }) => sum + requeued_steps, 0)).toBe(30);
    expect(await db.sql('select distinct crash_count, lease_epoch::int from ops_mission_steps')).toEqual([
      { crash_count: 1, lease_epoch: 2 },
    ]);
  });

  test('is rechecked in the write: a renewal that came first wins', async () => {
    const mission = await engine.mission(side(1));
    const leases = await engine.claim();
    const renewal = await inTransaction(db, "select from ops_renew_leases('w', $1, 3600)", [
      JSON.stringify(leases.map(ref)),
    ]);
    await advanceClock(db.sql, '61 seconds');
    const recovery = engine.port.recoverExpiredLeases();
    await blocked(db, 1, 'the recovery has seen the old lease and waits for the step');
    await renewal.query('commit');
    expect(await recovery).toMatchObject({ requeued_steps: 0, failed_steps: 0 });
    expect(only(await engine.steps(mission))).toMatchObject({ status: 'running', lease_epoch: '1' });
    expect(await engine.complete(leases)).toMatchObject([{ held: true }]);
  });

  test('in a mission that somebody is writing is left for the next time, without waiting', async () => {
    const { mission } = await expired();
    await expired(noop('other'));
    const letGo = await hold(db, 'select from ops_missions where id = $1 for update', [mission]);
    expect(await engine.port.recoverExpiredLeases()).toMatchObject({ requeued_steps: 1 });
    expect(await engine.port.recoverStaleSteps({ minutes: 0 })).toEqual({ recovered: 0 });
    await letGo();
    expect(await engine.port.recoverExpiredLeases()).toMatchObject({ requeued_steps: 1 });
  });

  test('against a completion at the same moment: one of them wins, whole', async () => {
    for (let round = 0; round < 40; round++) {
      const { mission, leases } = await expired();
      const pair = [() => engine.port.recoverExpiredLeases(), () => engine.complete(leases)] as const;
      const [recovered, completed] = await Promise.all([pair[0](), pair[1]()]);
      const won = only(completed).held;
      expect(recovered.requeued_steps).toBe(won ? 0 : 1);
      expect(await engine.step(mission, 'one')).toMatchObject({
        status: won ? 'succeeded' : 'queued',
        lease_epoch: won ? '1' : '2',
        crash_count: won ? 0 : 1,
      });
      expect(await engine.missionRow(mission)).toMatchObject({
        status: won ? 'succeeded' : 'running',
        open_steps: won ? 0 : 1,
      });
      await engine.port.cancelMission({ id: mission });
    }
  });
});

describe('the stale sweep', () => {
  test('without arguments takes steps without a live lease for longer than a quarter of an hour', async () => {
    const mission = await engine.mission(side(1));
    await engine.claim();
    await advanceClock(db.sql, '15 minutes');
    expect(await db.one('select * from ops_recover_stale_steps() r')).toEqual({ r: { recovered: 0 } });
    await advanceClock(db.sql, '2 minutes');
    expect(await db.one('select * from ops_recover_stale_steps() r')).toMatchObject({ r: { recovered: 1 } });
    expect(only(await engine.steps(mission))).toMatchObject({ status: 'queued', crash_count: 1 });
  });

  test('never takes a leased step, however long it has been running', async () => {
    const mission = await engine.mission([noop('one', { timeout_seconds: 86_400 })]);
    const leases = await engine.claim(1, ['noop'], 86_400);
    await advanceClock(db.sql, '20 hours');
    expect(await engine.port.recoverStaleSteps({ minutes: 1 })).toEqual({ recovered: 0 });
    expect(await engine.complete(leases)).toMatchObject([{ held: true }]);
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'succeeded' });
  });

  test.each([
    ['the step says', { timeout_seconds: 30 }, {}],
    ['its executor has', {}, { timeout_seconds: 900, executors: { noop: { timeout_seconds: 30 } } }],
    ['the policy has', {}, { timeout_seconds: 30 }],
  ])(
    'ends a hung step under a live lease after the timeout that %s, and fences its worker',
    async (_what, more, policy) => {
      await engine.setPolicy('worker_policy', policy);
      const mission = await engine.mission([noop('one', more)]);
      const leases = await engine.claim(1, ['noop'], 3600);
      await advanceClock(db.sql, '80 seconds');
      expect(await engine.port.recoverStaleSteps()).toEqual({ recovered: 0 });
      await advanceClock(db.sql, '30 seconds');
      expect(await engine.port.recoverStaleSteps()).toEqual({ recovered: 1 });
      expect(await attempts()).toEqual(['timed_out']);
      expect(await engine.step(mission, 'one')).toMatchObject({ status: 'scheduled', failure_count: 1 });
      expect(await engine.renew(leases)).toMatchObject([{ held: false }]);
      // The sweep took the step away, so its worker's word is not held any more.
      expect(await engine.fail(leases, 'retryable')).toMatchObject([{ held: false }]);
    },
  );

  test('over two hundred at once says so with a coded event', async () => {
    for (let n = 0; n < 3; n++) await engine.mission(side(80));
    await engine.claim(1000);
    await advanceClock(db.sql, '1 hour');
    await engine.port.recoverStaleSteps();
    expect(
      await db.sql("select data ->> 'code' as code from ops_agent_events where type like 'heartbeat:%'"),
    ).toEqual([{ code: 'OPS_010' }]);
    await engine.port.recoverStaleSteps();
    expect(await db.sql("select from ops_mission_steps where status = 'running'")).toHaveLength(0);
  });
});
