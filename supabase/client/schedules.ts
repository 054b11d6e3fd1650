/**
 * Schedules: the slots of cron expressions, computed ahead by croner and handed to the database, which raises their
 * events. A beat plans what its rounds said is unplanned; any number of planners at once plan the same.
 */
import { Cron } from 'croner';
import { fromDatabase, OpsError } from './errors.js';
import type { OpsPort } from './port.js';

/** At most so many slots of one schedule are planned at a time: three hours of a schedule that fires each minute. */
const slotsAtATime = 200;

export type CronSlots = { cron: string; timeZone: string; from: Date; until: Date; most?: number };

/**
 * The slots after `from` up to `until`, oldest first, and how far that goes. Where clocks go forward a slot that
 * does not exist comes at the hour's end; where they go back it comes once. Throws `OPS_008` for a cron that the
 * library refuses.
 */
export function slotsBetween({ cron, timeZone, from, until, most = slotsAtATime }: CronSlots): {
  slots: Date[];
  until: Date;
} {
  const slots: Date[] = [];
  const clock = parse(cron, timeZone);
  for (let next = clock.nextRun(from); next !== null && next <= until; next = clock.nextRun(next)) {
    slots.push(next);
    if (slots.length === most) return { slots, until: next };
  }
  return { slots, until };
}

/** The next slots after a time. Throws `OPS_008`. */
export function nextSlots(cron: string, timeZone: string, after: Date, count: number): Date[] {
  return parse(cron, timeZone).nextRuns(count, after);
}

function parse(cron: string, timeZone: string): Cron {
  try {
    return new Cron(cron, { timezone: timeZone, paused: true });
  } catch (cause) {
    throw new OpsError('OPS_008', `the schedule "${cron}" (${timeZone}) cannot be read`, {
      hint: 'Correct it in the policy `schedules`: five fields such as "0 9 * * 1", and a time zone.',
      cause,
    });
  }
}

/**
 * Plans the schedules that the database says are unplanned; answers how many slots were new. One that cannot be
 * read does not keep the others waiting: its `OPS_008` is thrown after them.
 */
export async function planSchedules(port: OpsPort): Promise<number> {
  const tried = (await port.schedulesToPlan()).map(planOf);
  const plans = tried.filter((plan): plan is Plan => !(plan instanceof OpsError));
  const planned = plans.length === 0 ? 0 : (await port.planSlots({ plans })).planned;
  const refusal = tried.find((plan) => plan instanceof OpsError);
  if (refusal !== undefined) throw refusal;
  return planned;
}

type ToPlan = Awaited<ReturnType<OpsPort['schedulesToPlan']>>[number];
type Plan = { id: string; revision: number; until: string; slots: string[] };

function planOf({ id, cron, time_zone, revision, from_at, until_at }: ToPlan): Plan | OpsError {
  try {
    const span = { from: new Date(from_at), until: new Date(until_at) };
    const { slots, until } = slotsBetween({ cron, timeZone: time_zone, ...span });
    return { id, revision, until: until.toISOString(), slots: slots.map((slot) => slot.toISOString()) };
  } catch (error) {
    return fromDatabase(error);
  }
}
