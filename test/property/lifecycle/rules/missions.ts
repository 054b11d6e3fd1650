/** A mission is what its steps make of it; a step waits only for what can still end. */
import { type Rule, say } from '../model.js';
import type { MissionRow, StepRow } from '../rows.js';
import { isOpen } from '../snapshot.js';

function verdict(mission: MissionRow, steps: StepRow[]): string {
  if (steps.some(isOpen)) return mission.status === 'approved' ? 'approved' : 'running';
  if (steps.some((step) => step.status === 'failed' && step.on_failure === 'stop')) return 'failed';
  return steps.some((step) => step.status === 'cancelled') ? 'cancelled' : 'succeeded';
}

export const missionFollowsItsSteps: Rule = function* ({ after }) {
  for (const mission of after.tables.missions) {
    const steps = after.stepsOf(mission.id);
    const due = verdict(mission, steps);
    const open = steps.filter(isOpen).length;
    if (mission.status !== due) yield `mission ${mission.id} is ${mission.status}, its steps say ${due}`;
    if (mission.status === 'approved' && steps.some((step) => step.status === 'running'))
      yield `mission ${mission.id} is approved, a step of it runs`;
    if (mission.open_steps !== open)
      yield `mission ${mission.id} counts ${mission.open_steps} open steps of ${open}`;
    if ((open === 0) !== (mission.completed_at !== null))
      yield `mission ${mission.id} has ${open} open steps and completed_at ${mission.completed_at}`;
  }
};

const isFinal = (mission: MissionRow | undefined): boolean =>
  mission !== undefined && mission.completed_at !== null;

export const missionEndsOnce: Rule = function* ({ before, after, effect }) {
  const saidNow = (id: string) =>
    after.tables.events.filter(
      (e) => e.mission_id === id && /^mission:\w+$/.test(e.type) && !before.events.has(e.id),
    ).length;
  const revived = new Set((effect.revived ?? []).map((id) => after.steps.get(id)?.mission_id));
  for (const mission of after.tables.missions) {
    const old = before.missions.get(mission.id);
    const more = saidNow(mission.id);
    const ended = isFinal(mission) && !isFinal(old);
    if (revived.has(mission.id)) {
      // Between revival and answer it may have ended once more for each step that could not be rendered.
      if (ended && more < 1) yield `mission ${mission.id} ended unsaid`;
      continue;
    }
    if (isFinal(old) && old?.status !== mission.status)
      yield `mission ${mission.id} left ${old?.status} by itself`;
    if (more !== (ended ? 1 : 0)) yield `mission ${mission.id} said its end ${more} times, ended: ${ended}`;
  }
};

const lets = (need: StepRow): boolean =>
  need.status === 'succeeded' ||
  (need.status === 'skipped' && need.skipped_for === null) ||
  (need.status === 'failed' && need.on_failure === 'continue');

export const nothingWaitsInVain: Rule = function* ({ after }) {
  for (const step of after.tables.steps) {
    const needs = step.needs.flatMap((id) => after.steps.get(id) ?? []);
    if (step.status === 'blocked') {
      const unmet = needs.filter((need) => !lets(need));
      if (!unmet.some(isOpen)) yield `${say(step)} waits for ended steps only`;
      if (unmet.length !== step.pending_needs)
        yield `${say(step)} counts ${step.pending_needs} needs, ${unmet.length} are unmet`;
    }
    const started = ['queued', 'scheduled', 'running', 'succeeded'].includes(step.status);
    // What succeeded or was skipped by its own condition stays so; a failed one that let go may be revived later.
    const jumped = needs.find((need) => need.on_failure === 'stop' && !lets(need));
    if (started && jumped !== undefined) yield `${say(step)} goes before ${say(jumped)}`;
  }
};

export const skippedForACause: Rule = function* ({ after }) {
  for (const step of after.tables.steps) {
    if (step.skipped_for === null) continue;
    const cause = after.steps.get(step.skipped_for);
    const stands =
      cause?.status === 'cancelled' || (cause?.status === 'failed' && cause.on_failure === 'stop');
    if (step.status === 'skipped' && !stands) yield `${say(step)} was skipped for ${cause && say(cause)}`;
  }
};
