/** Steps: every transition from every status, by the engine's verbs and by hand. */
import { describe, expect, test } from 'vitest';
import { type StepStatus, stepStatuses } from '../../supabase/client/terms.js';
import { advanceClock } from '../support/clock.js';
import { type Lease, noop, only, reviveByHand, type StepRow, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

/** A step in this status, brought there by the engine's own functions. */
async function stepIn(status: StepStatus): Promise<StepRow> {
  const mission = await engine.mission([noop('first'), noop('second')]);
  const first = () => engine.step(mission, 'first');
  if (status === 'blocked') return engine.step(mission, 'second');
  if (status === 'queued') return first();
  if (status === 'cancelled') {
    await engine.port.cancelMission({ id: mission });
    return first();
  }
  const lease = await engine.claim(1);
  if (status === 'scheduled') await engine.fail(lease, 'retryable');
  if (status === 'succeeded') await engine.complete(lease, { done: true });
  if (status === 'failed' || status === 'skipped') await engine.fail(lease, 'permanent');
  return status === 'skipped' ? engine.step(mission, 'second') : first();
}

const again = async (step: StepRow) => engine.step(step.mission_id, step.key);
const lease = (step: StepRow): Lease => ({ id: step.id, lease_epoch: Number(step.lease_epoch) });

test.each(stepStatuses)('the fixture brings a step to %s', async (status) => {
  expect(await stepIn(status)).toMatchObject({ status });
});

describe('a write-back with the current epoch', () => {
  test.each(stepStatuses)('completes a %s step only if it is running', async (status) => {
    const step = await stepIn(status);
    const answer = only(await engine.complete([lease(step)], { now: 1 }));
    const after = await again(step);
    expect(answer).toMatchObject({
      held: status === 'running' || status === 'succeeded',
      status: after.status,
    });
    expect(after.status).toBe(status === 'running' ? 'succeeded' : status);
    if (status !== 'running') expect(after).toEqual(step);
  });

  test.each(stepStatuses)('fails a %s step only if it is running', async (status) => {
    const step = await stepIn(status);
    const answer = only(await engine.fail([lease(step)], 'permanent'));
    const after = await again(step);
    // What the worker itself has said before is held; a success or a status nobody failed is not.
    expect(answer.held).toBe(['running', 'failed', 'scheduled'].includes(status));
    expect(after.status).toBe(status === 'running' ? 'failed' : status);
    if (status !== 'running') expect(after).toEqual(step);
  });

  test.each(stepStatuses)('releases a %s step only if it is running', async (status) => {
    const step = await stepIn(status);
    const answer = only(await engine.release([lease(step)]));
    const after = await again(step);
    expect(answer.held).toBe(status === 'running');
    expect(after.status).toBe(status === 'running' ? 'queued' : status);
    if (status !== 'running') expect(after).toEqual(step);
  });

  test.each(stepStatuses)('renews a %s step only if it is running', async (status) => {
    const step = await stepIn(status);
    const answer = only(await engine.renew([lease(step)], 120));
    const after = await again(step);
    expect(answer.held).toBe(status === 'running');
    if (status === 'running')
      expect(Number(after.lease_expires_at)).toBeGreaterThan(Number(step.lease_expires_at));
    else expect(after).toEqual(step);
  });
});

describe('a write-back with a stale epoch', () => {
  const stale = async () => {
    const mission = await engine.mission([noop('one'), noop('two')]);
    const old = only(await engine.claim(1));
    await advanceClock(db.sql, '2 minutes');
    await engine.port.recoverExpiredLeases();
    const live = only(await engine.claim(1));
    return { mission, old, live };
  };

  test('changes no row and is told so, whatever it says', async () => {
    const { mission, old, live } = await stale();
    const before = await engine.steps(mission);
    expect(live.lease_epoch).toBeGreaterThan(old.lease_epoch);
    expect(await engine.complete([old])).toMatchObject([{ held: false, status: 'running' }]);
    expect(await engine.fail([old], 'permanent')).toMatchObject([{ held: false, dead_lettered: false }]);
    expect(await engine.release([old])).toMatchObject([{ held: false }]);
    expect(await engine.renew([old])).toMatchObject([{ held: false }]);
    expect(await engine.steps(mission)).toEqual(before);
  });

  test('does not spoil the live one beside it', async () => {
    const { old, live } = await stale();
    expect(await engine.complete([old, live])).toMatchObject([
      { lease_epoch: old.lease_epoch, held: false },
      { lease_epoch: live.lease_epoch, held: true, status: 'succeeded' },
    ]);
  });

  // Both answers are about one step: the epoch tells them apart.
  test('is told so also when a failure of the live one stands in the same batch', async () => {
    const { old, live } = await stale();
    const answers = await engine.fail([old, live], 'permanent');
    expect(Object.fromEntries(answers.map((a) => [a.lease_epoch, a.held]))).toEqual({
      [old.lease_epoch]: false,
      [live.lease_epoch]: true,
    });
  });

  test('of a step that is not there is told so', async () => {
    const nobody = { id: '00000000-0000-4000-8000-000000000000', lease_epoch: 1 };
    expect(await engine.complete([nobody])).toMatchObject([{ held: false, status: null }]);
    expect(await engine.fail([nobody], 'retryable')).toMatchObject([{ held: false, status: null }]);
    expect(await engine.release([nobody])).toMatchObject([{ held: false, status: null }]);
    expect(await engine.renew([nobody])).toMatchObject([{ held: false }]);
  });
});

describe('said twice', () => {
  test('a completion is recorded once and held both times', async () => {
    const mission = await engine.mission([noop('one'), noop('two')]);
    const leases = await engine.claim(1);
    const [first, second] = [
      await engine.complete(leases, { n: 1 }),
      await engine.complete(leases, { n: 2 }),
    ];
    expect([first, second]).toMatchObject([[{ held: true }], [{ held: true, status: 'succeeded' }]]);
    expect(await engine.step(mission, 'one')).toMatchObject({ result: { n: 1 } });
    expect(await engine.step(mission, 'two')).toMatchObject({ status: 'queued', pending_needs: 0 });
    expect(await engine.missionRow(mission)).toMatchObject({ open_steps: 1 });
    expect(await db.sql("select from ops_agent_events where type = 'step:noop:succeeded'")).toHaveLength(1);
  });

  test('a failure is counted once and held both times', async () => {
    const mission = await engine.mission([noop('one')]);
    const leases = await engine.claim();
    await engine.fail(leases, 'retryable');
    expect(await engine.fail(leases, 'retryable')).toMatchObject([{ held: true, status: 'scheduled' }]);
    expect(await engine.step(mission, 'one')).toMatchObject({ failure_count: 1 });
  });

  test('first a success, then a failure: the failure is not held', async () => {
    const mission = await engine.mission([noop('one')]);
    const leases = await engine.claim();
    await engine.complete(leases);
    expect(await engine.fail(leases, 'permanent')).toMatchObject([{ held: false, status: 'succeeded' }]);
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'succeeded' });
  });

  test('twice in one batch, a completion counts once', async () => {
    const mission = await engine.mission([noop('one')]);
    const leases = await engine.claim();
    expect(await engine.complete([...leases, ...leases])).toMatchObject([{ held: true }, { held: true }]);
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'succeeded', open_steps: 0 });
  });
});

describe('by hand', () => {
  const allowed: Record<string, StepStatus[]> = {
    blocked: ['cancelled'],
    scheduled: ['queued', 'cancelled'],
    queued: ['cancelled'],
    failed: ['queued'],
    cancelled: ['queued'],
  };
  const pairs = stepStatuses.flatMap((from) =>
    stepStatuses.filter((to) => to !== from).map((to) => [from, to] as const),
  );

  test.each(pairs)('a step goes from %s to %s only where that is a transition', async (from, to) => {
    const step = await stepIn(from);
    const update = db.sql('update ops_mission_steps set status = $2 where id = $1', [step.id, to]);
    if (allowed[from]?.includes(to)) {
      await update;
      expect(await again(step)).toMatchObject({ status: to });
    } else {
      await expect(update).rejects.toMatchObject({
        code: 'OP015',
        message: `a step cannot go from ${from} to ${to} by hand`,
        hint: expect.stringContaining('queued'),
      });
      expect(await again(step)).toEqual(step);
    }
  });

  test('the lease epoch, the id and the mission of a step never change', async () => {
    const step = await stepIn('queued');
    for (const change of [
      'lease_epoch = lease_epoch + 1',
      'id = gen_random_uuid()',
      'mission_id = gen_random_uuid()',
    ])
      await expect(db.sql(`update ops_mission_steps set ${change}`)).rejects.toMatchObject({ code: 'OP015' });
    expect(await again(step)).toEqual(step);
  });

  test('not even while it is revived', async () => {
    const step = await stepIn('failed');
    await expect(
      db.sql(`${reviveByHand}, mission_id = gen_random_uuid() where id = $1`, [step.id]),
    ).rejects.toMatchObject({
      code: 'OP015',
    });
  });

  test('updated_at moves with engine columns and only with them', async () => {
    const step = await stepIn('queued');
    const at = async () =>
      (await db.one('select updated_at from ops_mission_steps where id = $1', [step.id])).updated_at;
    const before = await at();
    await db.sql('update ops_mission_steps set position = position where id = $1', [step.id]);
    expect(await at()).toEqual(before);
    await db.sql('update ops_mission_steps set priority = 5 where id = $1', [step.id]);
    expect(await at()).not.toEqual(before);
  });
});
