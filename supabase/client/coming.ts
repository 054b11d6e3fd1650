/** What the clock would bring under a draft: the next slots of its schedules, and the patterns that their events would fire. */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { rounded } from './json-text.js';
import type { OpsPort } from './port.js';
import { comingOf } from './schedules.js';
import { document } from './schemas/values.js';

export type Coming = {
  schedule_id: string;
  event_type: string;
  /** ISO 8601, the next one first. */
  slots: string[];
  /** Why none can be planned here: its zone is not in the zone data of this runtime, or the policy is older than a check. */
  problem: string | null;
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

/** As much of the policy as this needs: a live one may be older than what is checked at a write today. */
const Given = z.object({
  schedules: z.array(
    z.object({
      id: z.string(),
      enabled: z.boolean().optional(),
      cron: z.string(),
      time_zone: z.string().default('UTC'),
      event: z.object({ type: z.string(), data: document.optional() }),
    }),
  ),
});

/** Schedules that are switched off are left out; one that cannot be planned has a `problem`, and the others their slots. */
export async function comingSlots(
  port: Pick<OpsPort, 'listPolicies' | 'simulate'>,
  { drafts, now, count = 3 }: ComingOptions,
): Promise<Coming[]> {
  const given = drafts?.schedules ?? (await liveSchedules(port));
  if (given === undefined) return [];
  const { schedules } = Given.parse(rounded(given));
  const planned = schedules
    .filter(({ enabled }) => enabled !== false)
    .map((schedule) => ({
      ...{ id: schedule.id, event: schedule.event, eventId: randomUUID() },
      ...comingOf(schedule, now, count),
    }));
  const events = planned.flatMap(({ id, event, eventId, slots: [slot_at] }) =>
    slot_at === undefined
      ? []
      : [
          {
            ...{ id: eventId, type: event.type, source: 'schedule', trust: 'loop', created_at: slot_at },
            data: { ...event.data, schedule_id: id, slot_at },
          },
        ],
  );
  const decisions = events.length === 0 ? [] : (await port.simulate({ drafts, events })).decisions;
  const fired = (decisions ?? []).filter(({ outcome }) => outcome === 'fired');
  return planned.map(({ id, event, eventId, slots, problem }) => ({
    schedule_id: id,
    event_type: event.type,
    ...{ slots, problem },
    fires: fired.filter(({ event_id }) => event_id === eventId).map(({ pattern_id }) => pattern_id),
  }));
}

async function liveSchedules(port: Pick<OpsPort, 'listPolicies'>) {
  return (await port.listPolicies()).find(({ key }) => key === 'schedules')?.value;
}
