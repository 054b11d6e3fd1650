/**
 * Schedules: the slots of crons, computed ahead and handed to the database, which raises their events. A beat plans
 * what its rounds said is unplanned; any number of planners at once plan the same.
 */
import { slotsAfter } from './cron.js';
import { fromDatabase } from './errors.js';
import type { OpsPort } from './port.js';

/** At most so many slots of one schedule are planned at a time: three hours of a schedule that fires each minute. */
const slotsAtATime = 200;
/** What one round plans at most: within a second, at up to 0.3 ms a slot and 1 ms for a schedule that comes rarely. */
const atOnce = { schedules: 200, slots: 2_000 };

export type CronSlots = { cron: string; timeZone: string; from: Date; until: Date; most?: number };

/** The slots after `from` up to `until`, oldest first, and how far that goes. Throws as `slotsAfter` does. */
export function slotsBetween({ cron, timeZone, from, until, most = slotsAtATime }: CronSlots): {
  slots: Date[];
  until: Date;
} {
  const slots: Date[] = [];
  for (const slot of slotsAfter(cron, timeZone, from)) {
    if (slot > until) break;
    slots.push(slot);
    if (slots.length === most) return { slots, until: slot };
  }
  return { slots, until };
}

/** The next slots after a time; fewer when no more come. Throws as `slotsAfter` does. */
export function nextSlots(cron: string, timeZone: string, after: Date, count: number): Date[] {
  const slots: Date[] = [];
  for (const slot of slotsAfter(cron, timeZone, after)) {
    if (slots.length === count) break;
    slots.push(slot);
  }
  return slots;
}

/** The next slots as ISO 8601, or why there can be none: for lists that one bad schedule must not empty. */
export function comingOf(
  { cron, time_zone }: { cron: string; time_zone: string },
  now: Date,
  count: number,
): { slots: string[]; problem: string | null } {
  try {
    const slots = nextSlots(cron, time_zone, now, count).map((slot) => slot.toISOString());
    return { slots, problem: null };
  } catch (error) {
    return { slots: [], problem: fromDatabase(error).message };
  }
}

/**
 * Plans schedules that the database says are unplanned, up to a bound: how many slots were new, and how many
 * schedules are left for the next round. One that cannot be read is told to the database, which names it in an
 * event, and keeps none of the others waiting.
 */
export async function planSchedules(port: OpsPort): Promise<{ planned: number; left: number }> {
  const unplanned = await port.schedulesToPlan();
  const plans: Plan[] = [];
  let slots = 0;
  for (const schedule of unplanned.slice(0, atOnce.schedules)) {
    if (slots >= atOnce.slots) break;
    const plan = planOf(schedule);
    plans.push(plan);
    slots += plan.slots.length;
  }
  const left = unplanned.length - plans.length;
  return { planned: plans.length === 0 ? 0 : (await port.planSlots({ plans })).planned, left };
}

type ToPlan = Awaited<ReturnType<OpsPort['schedulesToPlan']>>[number];
type Plan = Parameters<OpsPort['planSlots']>[0]['plans'][number];

function planOf({ id, cron, time_zone, revision, from_at, until_at }: ToPlan): Plan {
  const span = { from: new Date(from_at), until: new Date(until_at) };
  try {
    const { slots, until } = slotsBetween({ cron, timeZone: time_zone, ...span });
    return { id, revision, until: until.toISOString(), slots: slots.map((slot) => slot.toISOString()) };
  } catch (error) {
    return { id, revision, until: span.from.toISOString(), slots: [], problem: fromDatabase(error).message };
  }
}
