/** Attempts that do not succeed: outcomes, backoff, dead letters, and the way back from them. */
import { describe, expect, test } from 'vitest';
import { failureOutcomes } from '../../supabase/client/terms.js';
import { advanceClock, setClock } from '../support/clock.js';
import { type Lease, noop, only, ref, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const letters = () => db.sql('select * from ops_step_dead_letters order by series');

/** One step that is not idempotent, claimed. */
async function openclaw() {
  const mission = await engine.mission([
    { key: 'one', kind: 'openclaw', params: { mode: 'exec', message: 'x' } },
  ]);
  return { mission, leases: await engine.claim(1, ['openclaw']) };
}

async function claimed(step = noop('one')) {
  const mission = await engine.mission([step]);
  return { mission, leases: await engine.claim() };
}

/** Fails the one step until it is final; answers the seconds it was told to wait before each further try. */
async function failToTheEnd(leases: Lease[]): Promise<number[]> {
  const waits: number[] = [];
  for (let lease = leases; ; ) {
    const { status, ready_at } = only(await engine.fail(lease, 'retryable'));
    if (status === 'failed') return waits;
    const { now } = await db.one<{ now: Date }>('select ops_clock() as now');
    waits.push((Date.parse(String(ready_at)) - Number(now)) / 1000);
    await setClock(db.sql, { at: String(ready_at) });
    lease = await engine.claim();
  }
}

describe('an outcome', () => {
  const afterOne: Record<string, [idempotent: string, other: string]> = {
    retryable: ['scheduled', 'scheduled'],
    rate_limited: ['scheduled', 'scheduled'],
    permanent: ['failed', 'failed'],
    timed_out: ['scheduled', 'failed'],
    unknown: ['scheduled', 'failed'],
    cancelled: ['cancelled', 'cancelled'],
  };

  test.each(failureOutcomes)('%s makes of an idempotent step what the table says', async (outcome) => {
    const { mission, leases } = await claimed();
    await engine.fail(leases, outcome);
    expect((await engine.step(mission, 'one')).status).toBe(afterOne[outcome]?.[0]);
  });

  test.each(failureOutcomes)(
    '%s makes of a step that is not idempotent what the table says',
    async (outcome) => {
      const { mission, leases } = await openclaw();
      await engine.fail(leases, outcome);
      expect((await engine.step(mission, 'one')).status).toBe(afterOne[outcome]?.[1]);
      const cause = (await letters())[0]?.cause;
      expect(cause).toBe(
        { permanent: 'permanent', timed_out: 'unknown', unknown: 'unknown' }[outcome as string],
      );
    },
  );

  test('ends the attempt with its name, error and measures', async () => {
    const { leases } = await claimed();
    const failure = {
      ...ref(only(leases)),
      outcome: 'timed_out' as const,
      error: 'too slow',
      meta: { tokens: 3 },
    };
    await engine.port.failSteps({ worker: 'w', failures: [failure] });
    expect(
      await db.one('select status, error, meta, completed_at is not null as ended from ops_action_runs'),
    ).toEqual({
      status: 'timed_out',
      error: 'too slow',
      meta: { tokens: 3 },
      ended: true,
    });
  });

  test('that no one knows is refused with a code and holds nothing up', async () => {
    const { leases } = await claimed();
    for (const outcome of [null, 'banana'])
      await expect(
        db.sql('select * from ops_fail_steps($1, $2)', [
          'w',
          JSON.stringify([{ ...ref(only(leases)), outcome, error: 'x' }]),
        ]),
      ).rejects.toMatchObject({ code: 'OP011' });
  });
});

describe('the wait before the next try', () => {
  test('doubles from the base to the cap, of which up to half is jitter', async () => {
    await engine.setPolicy('worker_policy', {
      max_retries: 8,
      backoff: { base_seconds: 4, cap_seconds: 60 },
    });
    const { leases } = await claimed();
    const waits = await failToTheEnd(leases);
    expect(waits).toHaveLength(7);
    for (const [n, seconds] of waits.entries()) {
      const whole = Math.min(4 * 2 ** n, 60);
      expect(seconds).toBeGreaterThanOrEqual(whole / 2 - 0.001);
      expect(seconds).toBeLessThanOrEqual(whole + 0.001);
    }
  });

  test('is 2 seconds at first and never over 900 unless the policy says otherwise, and never overflows', async () => {
    const { rows } = await db.pool.query(
      'select ops_backoff_seconds(n, 2, 900, j)::float as s, n, j from unnest(array[-1, 0, 1, 2, 10, 40, 2147483647]) n, unnest(array[0, 0.999999]) j',
    );
    for (const { s, n, j } of rows)
      expect(s).toBeCloseTo(Math.min(2 * 2 ** (Math.max(n, 1) - 1), 900) * (0.5 + 0.5 * j), 2);
  });

  test('is at least what the other side asked for', async () => {
    await setClock(db.sql, { at: '2026-03-01T10:00:00Z' });
    const { mission, leases } = await claimed();
    const failure = {
      ...ref(only(leases)),
      outcome: 'rate_limited' as const,
      error: '429',
      retry_after_seconds: 600,
    };
    await engine.port.failSteps({ worker: 'w', failures: [failure] });
    expect((await engine.step(mission, 'one')).ready_at).toEqual(new Date('2026-03-01T10:10:00Z'));
  });

  // An interval out of range would be raised for the whole batch.
  test('is bounded when the other side asks for an eternity', async () => {
    const { mission, leases } = await claimed();
    const failure = {
      ...ref(only(leases)),
      outcome: 'rate_limited' as const,
      error: '429',
      retry_after_seconds: 1e18,
    };
    await engine.port.failSteps({ worker: 'w', failures: [failure] });
    expect(await engine.step(mission, 'one')).toMatchObject({ status: 'scheduled' });
  });
});

test('being turned away costs no attempt, however often', async () => {
  const { mission, leases } = await claimed();
  let lease = leases;
  for (let n = 0; n < 6; n++) {
    await engine.fail(lease, 'rate_limited');
    await advanceClock(db.sql, '20 minutes');
    lease = await engine.claim();
  }
  expect(await engine.step(mission, 'one')).toMatchObject({ status: 'running', failure_count: 0 });
});

describe('a step that is out of attempts', () => {
  test.each([
    ['three by default', {}, {}, 3],
    ['as many as the policy says now', { max_retries: 2 }, {}, 2],
    ['as many as the step itself says', { max_retries: 2 }, { max_retries: 4 }, 4],
  ])('has had %s, and one dead letter with the true number', async (_what, policy, step, attempts) => {
    await engine.setPolicy('worker_policy', policy);
    const { mission, leases } = await claimed(noop('one', step));
    await failToTheEnd(leases);
    expect(await letters()).toMatchObject([
      {
        cause: 'exhausted',
        attempts,
        failure_count: attempts,
        crash_count: 0,
        series: 1,
        state: 'open',
        last_error: 'it broke',
      },
    ]);
    expect(await db.sql('select from ops_action_runs')).toHaveLength(attempts);
    expect(await engine.missionRow(mission)).toMatchObject({ status: 'failed', failed_steps: 1 });
  });

  test('is found by the query that operators know, although it failed once only', async () => {
    const { leases } = await claimed();
    await engine.fail(leases, 'permanent');
    expect(
      await db.sql(
        "select from ops_mission_steps where status = 'failed' and failure_count >= coalesce(max_retries, 3)",
      ),
    ).toHaveLength(1);
    expect(await letters()).toMatchObject([{ cause: 'permanent', attempts: 1, failure_count: 1 }]);
  });

  test('says so in two events, one mission deeper than itself', async () => {
    const { mission, leases } = await claimed();
    await engine.fail(leases, 'permanent', 'no such file');
    const events = await db.sql(
      "select type, depth, mission_id, data ->> 'cause' as cause, data ->> 'error' as error from ops_agent_events order by type",
    );
    expect(events).toMatchObject([
      { type: 'mission:failed' },
      {
        type: 'step:dead_lettered',
        depth: 1,
        mission_id: mission,
        cause: 'permanent',
        error: 'no such file',
      },
      { type: 'step:noop:failed', depth: 1, mission_id: mission, cause: 'permanent' },
    ]);
  });
});
