/** What people do to steps, missions and dead letters, by function and by hand. */
import fc from 'fast-check';
import { action, demand, nothing, refusal } from '../action.js';
import { type Effect, type Model, nth } from '../model.js';
import type { Snapshot, StepRow } from '../rows.js';
import { isOpen } from '../snapshot.js';

const which = fc.nat(30);
const hasEnded = ({ status }: StepRow): boolean => status === 'failed' || status === 'cancelled';

/** Half of the time one that can be retried, otherwise any. */
const target = fc.record({ nth: which, ended: fc.constantFrom(true, true, false) });
const choose = (model: Model, { nth: n, ended }: { nth: number; ended: boolean }): StepRow | undefined =>
  nth(ended ? model.last.tables.steps.filter(hasEnded) : model.last.tables.steps, n);

/** It waits for one that has ended without letting it go on, so its retry is refused. */
const waitsInVain = (snapshot: Snapshot, { needs }: StepRow): boolean =>
  needs.some((id) => {
    const need = snapshot.steps.get(id);
    return need !== undefined && (hasEnded(need) || need.skipped_for !== null);
  });

function revived(before: Snapshot, steps: StepRow[]): Effect {
  return {
    quiet: steps.length === 0,
    revived: steps.map(({ id }) => id),
    *check(after) {
      for (const { id, series } of steps) {
        if (after.steps.get(id)?.series !== series + 1) yield `step ${id} was retried without a new series`;
        const letter = before.tables.letters.find((l) => l.step_id === id && l.series === series);
        const now = after.tables.letters.find((l) => l.id === letter?.id);
        if (letter?.state === 'open' && now?.state !== 'requeued')
          yield `the letter of ${id} is ${now?.state}`;
      }
    },
  };
}

const retryStep = action(4, target, async ({ port }, model, args) => {
  const step = choose(model, args);
  if (step === undefined) return nothing;
  const refused = await refusal(port.retryStep({ id: step.id }), 'OPS_015');
  if (refused !== undefined && hasEnded(step) && waitsInVain(model.last, step)) return nothing;
  const mayNot = !hasEnded(step) && !isOpen(step);
  demand((refused !== undefined) === mayNot, `retry of a ${step.status} step: ${refused ?? 'accepted'}`);
  return revived(model.last, hasEnded(step) ? [step] : []);
});

/** The update that operators know by heart. */
const reviveByHand = action(2, target, async ({ sql }, model, args) => {
  const step = choose(model, args);
  if (step === undefined) return nothing;
  const update = `update ops_mission_steps set status = 'queued', reserved_at = null, lease_expires_at = null,
    failure_count = 0, last_error = null where id = $1`;
  const refused = await refusal(sql(update, [step.id]), 'OPS_015');
  const may = hasEnded(step) || ['queued', 'scheduled'].includes(step.status);
  demand((refused === undefined) === may, `${step.status} step set to queued: ${refused ?? 'accepted'}`);
  if (hasEnded(step)) return revived(model.last, [step]);
  if (refused !== undefined) return nothing;
  // The same words on a step that waits for its next try: its failures no longer count.
  for (const attempt of model.attempts.values())
    if (attempt.step === step.id && attempt.series === step.series && attempt.told !== 'crashed')
      attempt.forgiven = true;
  return {};
});

const cancelByHand = action(2, fc.record({ nth: which }), async ({ sql }, model, args) => {
  const step = nth(model.last.tables.steps, args.nth);
  if (step === undefined || step.status === 'cancelled') return nothing;
  const update = sql("update ops_mission_steps set status = 'cancelled' where id = $1", [step.id]);
  const refused = await refusal(update, 'OPS_015');
  const may = isOpen(step) && step.status !== 'running';
  demand((refused === undefined) === may, `${step.status} step set to cancelled: ${refused ?? 'accepted'}`);
  return may ? { cancelled: [step.id] } : nothing;
});

const retryMission = action(2, fc.record({ nth: which }), async ({ port }, model, args) => {
  const mission = nth(model.last.tables.missions, args.nth);
  if (mission === undefined) return nothing;
  const steps = model.last.stepsOf(mission.id).filter(hasEnded);
  const refused = await refusal(port.retryMission({ id: mission.id }), 'OPS_015');
  const mayNot = steps.length === 0 && mission.completed_at !== null;
  demand(
    (refused !== undefined) === mayNot,
    `retry of a ${mission.status} mission: ${refused ?? 'accepted'}`,
  );
  return revived(model.last, steps);
});

const cancelMission = action(
  3,
  fc.record({ nth: which, twice: fc.boolean() }),
  async ({ port }, model, args) => {
    const mission = nth(model.last.tables.missions, args.nth);
    if (mission === undefined) return nothing;
    const open = model.last.stepsOf(mission.id).filter(isOpen);
    await port.cancelMission({ id: mission.id, reason: 'not wanted' });
    if (args.twice) await port.cancelMission({ id: mission.id, reason: 'not wanted at all' });
    return {
      quiet: open.every(({ cancel_requested_at }) => cancel_requested_at !== null),
      cancelled: open.map(({ id }) => id),
      *check(after) {
        for (const { id, status } of open) {
          const row = after.steps.get(id);
          const done = status === 'running' ? row?.cancel_requested_at !== null : row?.status === 'cancelled';
          if (!done) yield `${status} step ${id} was cancelled and is ${row?.status}`;
        }
      },
    };
  },
);

const requeueLetter = action(
  3,
  fc.record({ nth: which, twice: fc.boolean() }),
  async ({ port }, model, args) => {
    const letter = nth(model.last.tables.letters, args.nth);
    const step = model.last.steps.get(letter?.step_id ?? '');
    if (letter === undefined || step === undefined) return nothing;
    const call = () => refusal(port.requeueDeadLetter({ id: letter.id }), 'OPS_015');
    const refused = await call();
    if (refused !== undefined && letter.state === 'open' && waitsInVain(model.last, step)) return nothing;
    if (args.twice) demand((await call()) === refused, 'the second requeue answers another thing');
    demand(
      (refused !== undefined) === (letter.state === 'discarded'),
      `requeue of a ${letter.state} letter: ${refused}`,
    );
    return revived(model.last, letter.state === 'open' ? [step] : []);
  },
);

const requeueMany = action(
  1,
  fc.record({
    executor: fc.constantFrom(null, 'noop', 'openclaw'),
    limit: fc.integer({ min: 1, max: 3 }),
    perMinute: fc.constantFrom(null, 1, 6),
  }),
  async ({ port }, model, { executor, limit, perMinute }) => {
    const open = model.last.tables.letters.filter(
      (letter) => letter.state === 'open' && (executor === null || letter.executor === executor),
    );
    const stuck = open.slice(0, limit).some((letter) => {
      const step = model.last.steps.get(letter.step_id);
      return step !== undefined && waitsInVain(model.last, step);
    });
    const call = port.requeueDeadLetters({
      filter: executor === null ? {} : { executor },
      limit,
      ...(perMinute === null ? {} : { perMinute }),
    });
    if (stuck && (await refusal(call, 'OPS_015')) !== undefined) return nothing;
    const { requeued } = await call;
    demand(requeued === Math.min(open.length, limit), `${requeued} of ${open.length} letters requeued`);
    return revived(
      model.last,
      open.slice(0, limit).flatMap((l) => model.last.steps.get(l.step_id) ?? []),
    );
  },
);

const discardLetter = action(1, fc.record({ nth: which }), async ({ port }, model, args) => {
  const letter = nth(model.last.tables.letters, args.nth);
  if (letter === undefined) return nothing;
  const refused = await refusal(port.discardDeadLetter({ id: letter.id, reason: 'seen' }), 'OPS_015');
  demand(
    (refused === undefined) === (letter.state === 'open'),
    `discard of a ${letter.state} letter: ${refused}`,
  );
  return { quiet: letter.state !== 'open' };
});

export const operatorActions = {
  retryStep,
  reviveByHand,
  cancelByHand,
  retryMission,
  cancelMission,
  requeueLetter,
  requeueMany,
  discardLetter,
};
