/** `reaction_matrix`: which events lead to which missions. */
import { z } from 'zod';
import { document } from '../values.js';
import {
  identifier,
  minutesPerYear,
  rate,
  risk,
  secondsPerWeek,
  spanUpTo,
  text,
  whole,
  word,
} from './fields.js';

const key = z
  .string()
  .max(100)
  .regex(/^[A-Za-z0-9_-]+$/)
  .describe('a key of letters, digits, "_" and "-"');

const glob = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9_.*-]+(:[A-Za-z0-9_.*-]+)*$/)
  .describe('an event type such as "github:issues:opened", a glob such as "step:*:failed", or "*"');

const TemplateStep = z.strictObject({
  /** Name within the template, `step_<n>` by default. */
  key: key.optional(),
  kind: word,
  /** The kind by default. */
  executor: word.optional(),
  params: document.optional(),
  /** Smaller runs first; 0 by default. */
  priority: whole(-32_768, 32_767).optional(),
  /** Keys of the steps it waits for; the step before it when left out, none when empty. */
  depends_on: z.array(key).max(100).optional(),
  /** SQL/JSON path over {event, steps, mission}; false skips the step. */
  when: text(2000).optional(),
  /** Attempts in all. */
  max_retries: whole(1, 100).optional(),
  timeout_seconds: spanUpTo(secondsPerWeek).optional(),
  on_failure: z.enum(['stop', 'continue']).optional(),
  /** One step per item of a list; `item` and `index` stand in its params. Its result is the list of theirs. */
  for_each: z
    .strictObject({
      items: z.union([text(1000), z.array(z.json()).max(1000)]),
      /** More items fail the step; 100 by default. */
      max: whole(1, 1000).optional(),
    })
    .optional(),
});

export const Template = z.strictObject({
  title: text(500),
  risk_level: risk.optional(),
  /** Goes through every state; no executor is called. */
  dry_run: z.boolean().optional(),
  steps: z.array(TemplateStep).min(1).max(100),
});
export type Template = z.infer<typeof Template>;

const Pattern = z.strictObject({
  id: identifier,
  name: text(200).optional(),
  enabled: z.boolean().optional(),
  event_type: z.union([glob, z.array(glob).min(1).max(100)]),
  source: z.union([text(200), z.array(text(200)).max(100)]).optional(),
  /** All of them must be in `event.data.tags`. */
  tags: z.array(text(200)).max(50).optional(),
  /** SQL/JSON path over the event; the first item must be neither false nor null. */
  where: text(2000).optional(),
  probability: z.number().min(0).max(1).optional(),
  cooldown_minutes: z.number().min(0).max(minutesPerYear).optional(),
  cooldown_key: text(1000).optional(),
  limit: rate.extend({ key: text(1000).optional() }).optional(),
  dedupe_key: text(1000).optional(),
  /** Share of its firings that run for real; the others are dry runs. */
  canary: z.number().min(0).max(1).optional(),
  /** Lets a pattern that starts with a wildcard match the loop's own events. */
  allow_system: z.boolean().optional(),
  template: Template,
});

export const ReactionMatrix = z.strictObject({ patterns: z.array(Pattern).max(1000) });
