/** Dead letters: the way back for a step that is out of attempts, one at a time or many. */
import { describe, expect, test } from 'vitest';
import { advanceClock, setClock } from '../support/clock.js';
import { noop, only, reviveByHand, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const letters = () => db.sql('select * from ops_step_dead_letters order by series');

async function claimed() {
  const mission = await engine.mission([noop('one')]);
  return { mission, leases: await engine.claim() };
}

describe('the way back', () => {
  async function dead() {
    const { mission, leases } = await claimed();
    await engine.fail(leases, 'permanent');
    const letter = only(await letters());
    return { mission, step: await engine.step(mission, 'one'), letter: String(letter.id) };
  }
  const revived = {
    status: 'queued',
    failure_count: 0,
    crash_count: 0,
    series: 2,
    last_error: null,
    reserved_at: null,
  };

  test('by retry_step, by requeue and by hand are the same', async () => {
    const ways: ((dead: { step: { id: string }; letter: string }) => Promise<unknown>)[] = [
      ({ step }) => engine.port.retryStep({ id: step.id }),
      ({ letter }) => engine.port.requeueDeadLetter({ id: letter }),
      ({ step }) => db.sql(`${reviveByHand} where id = $1`, [step.id]),
    ];
    for (const way of ways) {
      const one = await dead();
      await way(one);
      const step = await engine.step(one.mission, 'one');
      expect(step).toMatchObject(revived);
      expect(Number(step.lease_epoch)).toBeGreaterThan(Number(one.step.lease_epoch));
      expect(await engine.missionRow(one.mission)).toMatchObject({
        status: 'running',
        completed_at: null,
        failed_steps: 0,
      });
      expect(
        await db.one(
          'select state, resolved_at is not null as closed from ops_step_dead_letters where id = $1',
          [one.letter],
        ),
      ).toEqual({
        state: 'requeued',
        closed: true,
      });
      await engine.complete(await engine.claim());
      expect(await engine.missionRow(one.mission)).toMatchObject({ status: 'succeeded', open_steps: 0 });
      await db.sql(
        "select set_config('ops.engine', 'on', true); delete from ops_step_dead_letters; delete from ops_mission_steps",
      );
    }
  });

  test('asked for thirty times at once is one series', async () => {
    const { mission, letter, step } = await dead();
    await Promise.all(
      Array.from({ length: 30 }, (_, n) =>
        n % 2
          ? engine.port.requeueDeadLetter({ id: letter, reason: 'again' })
          : engine.port.retryStep({ id: step.id }),
      ),
    );
    expect(await engine.step(mission, 'one')).toMatchObject(revived);
    expect(await engine.claim()).toHaveLength(1);
  });

  test('and failing once more leaves a second letter beside the first', async () => {
    const { step } = await dead();
    await engine.port.retryStep({ id: step.id, reason: 'the disk was full' });
    await engine.fail(await engine.claim(), 'permanent');
    expect(await letters()).toMatchObject([
      { series: 1, state: 'requeued', resolution: 'the disk was full' },
      { series: 2, state: 'open' },
    ]);
  });

  test('is closed by discarding, which needs a reason', async () => {
    const { letter, step } = await dead();
    await expect(engine.port.discardDeadLetter({ id: letter, reason: '  ' })).rejects.toMatchObject({
      code: 'OPS_011',
    });
    await engine.port.discardDeadLetter({ id: letter, reason: 'not needed any more' });
    expect(await letters()).toMatchObject([{ state: 'discarded', resolution: 'not needed any more' }]);
    for (const again of [
      () => engine.port.requeueDeadLetter({ id: letter }),
      () => engine.port.discardDeadLetter({ id: letter, reason: 'x' }),
    ])
      await expect(again()).rejects.toMatchObject({ code: 'OPS_015' });
    await engine.port.retryStep({ id: step.id });
    expect(await letters()).toMatchObject([{ state: 'discarded' }]);
  });

  test('is refused with a code for what is not there or did not fail', async () => {
    const nobody = '00000000-0000-4000-8000-000000000000';
    await expect(engine.port.retryStep({ id: nobody })).rejects.toMatchObject({ code: 'OPS_012' });
    await expect(engine.port.retryMission({ id: nobody })).rejects.toMatchObject({ code: 'OPS_012' });
    await expect(engine.port.requeueDeadLetter({ id: nobody })).rejects.toMatchObject({ code: 'OPS_012' });
    const { mission, leases } = await claimed();
    await engine.complete(leases);
    const { id } = await engine.step(mission, 'one');
    await expect(engine.port.retryStep({ id })).rejects.toMatchObject({ code: 'OPS_015' });
    await expect(engine.port.retryMission({ id: mission })).rejects.toMatchObject({ code: 'OPS_015' });
  });

  test('of many at once goes by what they have in common, in order, spread over time', async () => {
    await setClock(db.sql, { at: '2026-03-01T10:00:00Z' });
    for (const key of ['a', 'b', 'c']) await engine.mission([noop(key)]);
    await engine.mission([{ key: 'other', kind: 'openclaw', params: { mode: 'exec', message: 'x' } }]);
    await engine.fail(await engine.claim(10, ['noop', 'openclaw']), 'permanent');
    const requeue = async (...values: unknown[]) =>
      (await db.one('select ops_requeue_dead_letters($1, $2, $3, $4) as answer', values)).answer;
    expect(await requeue('{"executor": "noop"}', 2, 60, 'after the outage')).toEqual({
      requeued: 2,
      more: true,
    });
    expect(await requeue('{"executor": "noop"}', 2, 60, 'after the outage')).toEqual({
      requeued: 1,
      more: false,
    });
    expect(
      await db.sql("select cause, state from ops_step_dead_letters where executor = 'openclaw'"),
    ).toEqual([{ cause: 'permanent', state: 'open' }]);
    expect(
      await db.sql("select distinct resolution from ops_step_dead_letters where state = 'requeued'"),
    ).toEqual([{ resolution: 'after the outage' }]);
    expect(await engine.claim()).toHaveLength(2);
    await advanceClock(db.sql, '1 second');
    expect(await engine.claim()).toHaveLength(1);
  });

  test('of many at once takes the oldest first, and refuses a filter it does not know', async () => {
    for (let n = 0; n < 8; n++) {
      await engine.mission([noop(`n${n}`)]);
      await engine.fail(await engine.claim(), 'permanent');
    }
    const misspelt = db.sql(`select ops_requeue_dead_letters('{"excutor": "noop"}')`);
    await expect(misspelt).rejects.toMatchObject({
      code: 'OP011',
      message: expect.stringContaining('excutor'),
    });
    await db.sql("select ops_requeue_dead_letters('{}', 3)");
    expect((await engine.claim()).map(({ key }) => key).sort()).toEqual(['n0', 'n1', 'n2']);
  });

  test('of many at once passes over a letter whose step is gone', async () => {
    await dead();
    await db.sql("delete from ops_mission_steps where status = 'failed'");
    await engine.mission([noop('two')]);
    await engine.fail(await engine.claim(), 'permanent');
    const { answer } = await db.one('select ops_requeue_dead_letters() as answer');
    expect(answer).toMatchObject({ requeued: 1 });
    expect(await engine.claim()).toHaveLength(1);
    await expect(db.sql("select ops_requeue_dead_letters('{}', 10, 0)")).rejects.toMatchObject({
      code: 'OP011',
    });
  });

  test('pages through letters that were written at the same moment', async () => {
    // The cursor is created_at alone, so no two letters may share one.
    await setClock(db.sql, { at: '2026-03-01T10:00:00Z' });
    await engine.mission(
      Array.from({ length: 6 }, (_, n) => noop(`s${n}`, { depends_on: [], on_failure: 'continue' })),
    );
    await engine.fail(await engine.claim(), 'permanent');
    await advanceClock(db.sql, '1 second');
    const seen = new Set<string>();
    for (let before: string | undefined, page = 0; page < 6; page++) {
      const rows = await engine.port.listDeadLetters({
        limit: 2,
        ...(before === undefined ? {} : { before }),
      });
      for (const { id, created_at } of rows) {
        seen.add(id);
        before = created_at;
      }
    }
    expect(seen.size).toBe(6);
  });
});
