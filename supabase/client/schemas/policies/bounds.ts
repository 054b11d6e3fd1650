/** `budgets`, `loop_limits` and `retention`: how much, how far, how long. */
import { z } from 'zod';
import { identifier, spanUpTo, timeZone, whole, word } from './fields.js';

const amount = z.number().min(0).max(1e12);

const Budget = z.strictObject({
  usd_per_day: amount.optional(),
  usd_per_month: amount.optional(),
  tokens_per_day: amount.optional(),
  tokens_per_month: amount.optional(),
  runs_per_day: amount.optional(),
  runs_per_month: amount.optional(),
});

export const Budgets = z.strictObject({
  time_zone: timeZone.optional(),
  global: Budget.optional(),
  role: z.record(word, Budget).optional(),
  executor: z.record(word, Budget).optional(),
  pattern: z.record(identifier, Budget).optional(),
  /** By executor or role: set aside before the start, settled after it. */
  reserve: z.record(word, z.strictObject({ usd: amount.optional(), tokens: amount.optional() })).optional(),
});

export const LoopLimits = z.strictObject({
  /** Missions between a root event and the latest; 8 by default. */
  max_depth: whole(0, 1000).optional(),
  /** Reactions that one root event may lead to, beyond its own first ones; 100 by default. */
  max_fan_out: whole(0, 1_000_000).optional(),
  /** Times one pattern may stand in one chain; 3 by default. */
  max_repeats: whole(0, 1000).optional(),
});

/** Up to a century. */
const days = spanUpTo(36_600);

export const Retention = z.strictObject({
  /** Days that finished rows stay; 90 by default. */
  days: days.optional(),
  events_days: days.optional(),
  missions_days: days.optional(),
  runs_days: days.optional(),
  dead_letters_days: days.optional(),
  heartbeats_days: days.optional(),
});
