/** The fields that policies share. Numbers that bound a time carry its unit in the name of their member. */
import { z } from 'zod';
import { isTimeZone } from '../../cron.js';
import { riskLevels } from '../../terms.js';

export const text = (max: number) => z.string().min(1).max(max);
export const whole = (min: number, max: number) => z.int().min(min).max(max);
export const spanUpTo = (max: number) => z.number().positive().max(max);

export const secondsPerDay = 86_400;
export const secondsPerWeek = 7 * secondsPerDay;
export const minutesPerDay = 1_440;
export const shortestLeaseMinutes = 0.05;
export const minutesPerWeek = 7 * minutesPerDay;
/** A leap year. */
export const minutesPerYear = 366 * minutesPerDay;

export const risk = z.enum(riskLevels);
export const names = z.array(text(500)).max(1000);
export const rate = z.strictObject({ count: whole(0, 1_000_000), per_minutes: spanUpTo(minutesPerYear) });

/** Names of executors and kinds. A kind is a word of the events its steps raise, a name is both. */
export const word = z
  .string()
  .max(100)
  .regex(/^[A-Za-z0-9_.-]+$/)
  .describe('a name of letters, digits, "_", "." and "-"');
export const identifier = z
  .string()
  .max(100)
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/)
  .describe('an id of letters, digits, "_", "." and "-"');
export const variable = z
  .string()
  .max(200)
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/)
  .describe('the name of an environment variable such as "SLACK_URL"');
/**
 * Names of the IANA database that the database and every runtime read alike. What the database also takes is left out:
 * abbreviations and offsets know no summer time, and `UTC+3` means three hours behind (POSIX, TZ).
 */
export const timeZone = z
  .string()
  .max(60)
  .regex(/^(UTC|GMT|[A-Z][A-Za-z]+(\/[A-Za-z_-]+){1,2}|Etc\/GMT([+]([1-9]|1[0-2])|-([1-9]|1[0-4])))$/)
  .refine(isTimeZone, 'is no time zone that is known here')
  .describe('a time zone such as "Europe/Berlin" or "UTC"');
