/** Mission state is a function of its steps: random graphs with random outcomes against a small model. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { MissionStatus, StepStatus } from '../../supabase/client/terms.js';
import { seed } from '../support/seed.js';
import { noop, type StepRow, type StepTemplate, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

type Ending = 'complete' | 'retryable' | 'permanent' | 'cancelled' | 'release' | 'crash';
type Move =
  | { act: 'end'; pick: number; ending: Ending }
  | { act: 'claim'; count: number }
  | { act: 'revive' | 'cancel'; pick: number };

const open = new Set<StepStatus>(['blocked', 'scheduled', 'queued', 'running']);

/** The rule of the specification, word for word. */
function stateOf(steps: (StepRow & { on_failure: string })[], claimed: boolean): MissionStatus {
  if (steps.some(({ status }) => open.has(status))) return claimed ? 'running' : 'approved';
  if (steps.some(({ status, on_failure }) => status === 'failed' && on_failure === 'stop')) return 'failed';
  if (steps.some(({ status }) => status === 'cancelled')) return 'cancelled';
  return 'succeeded';
}

/** What lets a dependent go on. */
const satisfied = (step: StepRow & { on_failure: string }) =>
  step.status === 'succeeded' ||
  (step.status === 'skipped' && step.skipped_for === null) ||
  (step.status === 'failed' && step.on_failure === 'continue');

async function check(mission: string): Promise<void> {
  const steps = (await engine.steps(mission)) as (StepRow & { on_failure: string; needs: string[] })[];
  const row = await engine.missionRow(mission);
  expect(row.status, JSON.stringify(steps.map(({ key, status }) => [key, status]))).toBe(
    stateOf(steps, row.started_at !== null),
  );
  expect(row.open_steps).toBe(steps.filter(({ status }) => open.has(status)).length);
  expect(row.completed_at === null).toBe(row.open_steps !== 0);
  const byId = new Map(steps.map((step) => [step.id, step]));
  for (const step of steps) {
    const unmet = step.needs.filter(
      (id) => !satisfied(byId.get(id) ?? fail(`a need of ${step.key} is gone`)),
    );
    if (step.status === 'blocked') {
      expect(step.pending_needs, `needs of ${step.key}`).toBe(unmet.length);
      // A blocked step waits for something that can still come.
      expect(
        unmet.some((id) => open.has(byId.get(id)?.status ?? 'failed')),
        `${step.key} is blocked behind ended steps`,
      ).toBe(true);
    }
    // A parent that failed without stopping and was revived afterwards does not take back what it had let go.
    const never = unmet.filter((id) => byId.get(id)?.series === 1);
    if (step.status === 'queued') expect(never, `${step.key} is queued before its needs`).toEqual([]);
  }
  expect(await engine.port.checkInvariants()).toEqual([]);
}

const fail = (message: string): never => {
  throw new Error(message);
};

async function end(ending: Ending, lease: { id: string; lease_epoch: number }): Promise<void> {
  if (ending === 'complete') await engine.complete([lease], { ok: true });
  else if (ending === 'release') await engine.release([lease]);
  else if (ending === 'crash') {
    await engine.renew([lease], -1);
    await engine.port.recoverExpiredLeases();
  } else await engine.fail([lease], ending);
}

async function play(mission: string, move: Move): Promise<void> {
  // Retries are due at once here: waiting is another test's business.
  await db.sql("update ops_mission_steps set status = 'queued' where status = 'scheduled'");
  if (move.act === 'claim') return void (await engine.claim(move.count));
  const wanted = { end: ['running'], revive: ['failed', 'cancelled'], cancel: ['blocked', 'queued'] }[
    move.act
  ];
  const steps = (await engine.steps(mission)).filter(({ status }) => wanted.includes(status));
  const step = steps[move.pick % Math.max(steps.length, 1)];
  if (step === undefined) return;
  if (move.act === 'end') return end(move.ending, { id: step.id, lease_epoch: Number(step.lease_epoch) });
  if (move.act === 'cancel')
    return void (await db.sql("update ops_mission_steps set status = 'cancelled' where id = $1", [step.id]));
  // Behind an ended parent it cannot run; that is refused, and nothing changes.
  await engine.port.retryStep({ id: step.id }).catch((error) => expect(error.code).toBe('OPS_015'));
}

const graph = fc
  .array(
    fc.record({
      needs: fc.array(fc.nat(6), { maxLength: 3 }),
      stop: fc.boolean(),
      when: fc.constantFrom(
        undefined,
        undefined,
        '$.steps.*.status == "failed"',
        '$.mission.title == "a mission"',
      ),
      asks: fc.boolean(),
    }),
    { minLength: 1, maxLength: 7 },
  )
  .map((nodes) =>
    nodes.map(({ needs, stop, when, asks }, n): StepTemplate => {
      const earlier = [...new Set(needs.filter((need) => need < n).map((need) => `k${need}`))];
      const params =
        asks && earlier.length > 0 ? { params: { echo: `{{steps.${earlier[0]}.result.ok}}` } } : {};
      return noop(`k${n}`, {
        depends_on: earlier,
        on_failure: stop ? 'stop' : 'continue',
        ...(when ? { when } : {}),
        ...params,
      });
    }),
  );

const pick = fc.nat(20);
const move: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ act: fc.constant('claim' as const), count: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      act: fc.constant('end' as const),
      pick,
      ending: fc.constantFrom<Ending>(
        'complete',
        'complete',
        'complete',
        'retryable',
        'permanent',
        'permanent',
        'cancelled',
        'release',
        'crash',
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ act: fc.constant('revive' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('cancel' as const), pick }) },
);

test('after every move of any mission its state, its counts and its blocked steps are what the steps say', async () => {
  await fc.assert(
    fc.asyncProperty(graph, fc.array(move, { minLength: 5, maxLength: 25 }), async (steps, moves) => {
      await engine.reset();
      const mission = await engine.mission(steps);
      await check(mission);
      for (const one of moves) {
        await play(mission, one);
        await check(mission);
      }
    }),
    { numRuns: Number(process.env.OPS_TEST_RUNS ?? 40), seed },
  );
}, 180_000);
