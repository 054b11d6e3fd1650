/** Schedules: the database fires their slots, code that knows cron computes them. */
import { z } from 'zod';
import { arg, call, rows, value } from '../call.js';
import { count, timestamp } from '../schemas/values.js';

export const ScheduleToPlan = z.object({
  id: z.string(),
  cron: z.string(),
  time_zone: z.string(),
  revision: count,
  from_at: timestamp,
  until_at: timestamp,
});

/** The slots of one schedule up to `until`, computed under one version of the policy, or why that cannot be done. */
export const SlotPlan = z.strictObject({
  id: z.string(),
  revision: z.int(),
  until: z.iso.datetime({ offset: true }),
  slots: z.array(z.iso.datetime({ offset: true })),
  problem: z.string().optional(),
});

export const Schedule = z.object({
  id: z.string(),
  enabled: z.boolean(),
  cron: z.string(),
  time_zone: z.string(),
  missed: z.enum(['skip', 'one', 'all']),
  event_type: z.string(),
  next_at: timestamp.nullable(),
  last_fired_at: timestamp.nullable(),
  last_event_id: z.uuid().nullable(),
  missed_today: count,
  /** Why the latest beat could not plan it. */
  problem: z.string().nullable(),
});

export const scheduleCalls = {
  schedulesToPlan: call('ops_schedules_to_plan', {}, rows(ScheduleToPlan)),
  planSlots: call(
    'ops_plan_slots',
    { plans: arg.jsonb(z.array(SlotPlan)) },
    value(z.object({ planned: z.int() })),
  ),
  listSchedules: call('ops_list_schedules', {}, rows(Schedule)),
};
