/** `schedules`: events by the clock. */
import { z } from 'zod';
import { everComes } from '../../cron.js';
import { document } from '../values.js';
import { identifier, minutesPerYear, timeZone, whole } from './fields.js';

const eventName = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)*$/)
  .describe('an event type such as "report:due"');

/** Minute, hour, day, month, weekday, each with its widest step; names of months and weekdays in capitals. */
const cronFields: [value: string, step: string][] = [
  ['[0-5]?[0-9]', '([1-9]|[1-5][0-9]|60)'],
  ['([01]?[0-9]|2[0-3])', '([1-9]|1[0-9]|2[0-4])'],
  ['(0?[1-9]|[12][0-9]|3[01])', '([1-9]|[12][0-9]|3[01])'],
  ['(0?[1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)', '([1-9]|1[0-2])'],
  ['([0-7]|SUN|MON|TUE|WED|THU|FRI|SAT)', '[1-7]'],
];

/** Numbers, ranges, lists and steps. A step is over `*` or a range: what `5/15` means, cron programs disagree on. */
const cronField = ([value, step]: [value: string, step: string]): string => {
  const item = `([*](/${step})?|${value}(-${value}(/${step})?)?)`;
  return `${item}(,${item})*`;
};

export const Schedules = z.strictObject({
  schedules: z
    .array(
      z.strictObject({
        id: identifier,
        enabled: z.boolean().optional(),
        cron: z
          .string()
          .max(200)
          .regex(new RegExp(`^${cronFields.map(cronField).join(' ')}$`))
          .refine(everComes, 'counts down, or names a day that none of its months has')
          .describe('five cron fields such as "0 9 * * 1" or "*/15 8-17 * * MON-FRI"'),
        time_zone: timeZone.optional(),
        missed: z.enum(['skip', 'one', 'all']).optional(),
        /** Slots older than this are let go whatever `missed` says; a day by default. */
        look_back_minutes: whole(1, minutesPerYear).optional(),
        event: z.strictObject({ type: eventName, data: document.optional() }),
      }),
    )
    .max(1000),
});
