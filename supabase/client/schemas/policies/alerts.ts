/** `alerts`: what is measured, and from where on somebody is told. */
import { z } from 'zod';
import { alertNames } from '../../terms.js';
import { type AlertName, inOrder } from '../thresholds.js';
import { minutesPerDay, minutesPerWeek, spanUpTo, whole } from './fields.js';

export const Alerts = z.strictObject({
  enabled: z.boolean().optional(),
  /** What rates are measured over; an hour by default. */
  window_minutes: spanUpTo(minutesPerDay).optional(),
  /** A rate over fewer says nothing; 20 by default. */
  min_samples: whole(1, 1_000_000).optional(),
  /** Between two scheduled heartbeats; 5 by default, as in vercel.json. */
  heartbeat_minutes: spanUpTo(minutesPerWeek).optional(),
  /** By name of `ops_alert_rules()`, which has the defaults. */
  rules: z
    .partialRecord(
      z.enum(alertNames),
      z.strictObject({
        enabled: z.boolean().optional(),
        warning: z.number().optional(),
        critical: z.number().optional(),
      }),
    )
    .refine((rules) => Object.entries(rules).every(([name, own]) => inOrder(name as AlertName, own)), {
      error: 'a threshold is the wrong way round: what is worse is critical',
    })
    .optional(),
});
