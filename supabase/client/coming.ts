/** What the clock would bring under a draft: the next slots of its schedules, and the patterns that their events would fire. */
import { randomUUID } from 'node:crypto';
import type { OpsPort } from './port.js';
import { nextSlots } from './schedules.js';
import { Schedules } from './schemas/policies.js';

export type Coming = {
  schedule_id: string;
  event_type: string;
  /** ISO 8601, the next one first. */
  slots: string[];
  /** Ids of the patterns that the event of the next slot would fire, every counter being empty by then. */
  fires: string[];
};

export type ComingOptions = {
  /** `{policy key: value}`: what the live policies are replaced by. */
  drafts: NonNullable<Parameters<OpsPort['simulate']>[0]>['drafts'];
  now: Date;
  /** Slots of each schedule. Default 3. */
  count?: number;
};

/** Schedules that are switched off are left out. Throws `OPS_008` for a cron that cannot be read. */
export async function comingSlots(
  port: Pick<OpsPort, 'listPolicies' | 'simulate'>,
  { drafts, now, count = 3 }: ComingOptions,
): Promise<Coming[]> {
  const given = drafts?.schedules ?? (await liveSchedules(port));
  if (given === undefined) return [];
  const { schedules } = Schedules.parse(given);
  const planned = schedules
    .filter(({ enabled }) => enabled !== false)
    .map(({ id, cron, time_zone = 'UTC', event }) => ({
      ...{ id, event, eventId: randomUUID() },
      slots: nextSlots(cron, time_zone, now, count).map((slot) => slot.toISOString()),
    }));
  if (planned.length === 0) return [];
  const { decisions } = await port.simulate({
    drafts,
    events: planned.map(({ id, event, eventId, slots: [slot_at = now.toISOString()] }) => ({
      ...{ id: eventId, type: event.type, source: 'schedule', trust: 'loop', created_at: slot_at },
      data: { ...event.data, schedule_id: id, slot_at },
    })),
  });
  const fired = (decisions ?? []).filter(({ outcome }) => outcome === 'fired');
  return planned.map(({ id, event, eventId, slots }) => ({
    schedule_id: id,
    event_type: event.type,
    slots,
    fires: fired.filter(({ event_id }) => event_id === eventId).map(({ pattern_id }) => pattern_id),
  }));
}

async function liveSchedules(port: Pick<OpsPort, 'listPolicies'>): Promise<unknown> {
  return (await port.listPolicies()).find(({ key }) => key === 'schedules')?.value;
}
