/** Dead letters: steps out of attempts, put back or let go. */
import { z } from 'zod';
import { arg, call, rows, value } from '../call.js';
import { json, timestamp } from '../schemas/values.js';
import * as terms from '../terms.js';

export const DeadLetter = z.object({
  id: z.uuid(),
  step_id: z.uuid(),
  mission_id: z.uuid(),
  series: z.int(),
  kind: z.string(),
  executor: z.string(),
  cause: z.enum(terms.deadLetterCauses),
  attempts: z.int(),
  error_class: z.string().nullable(),
  last_error: z.string().nullable(),
  params: json,
  state: z.enum(terms.deadLetterStates),
  resolution: z.string().nullable(),
  created_at: timestamp,
  resolved_at: timestamp.nullable(),
});
export type DeadLetter = z.infer<typeof DeadLetter>;

/** Which dead letters; all given members must hold. */
export const DeadLetterFilter = z.strictObject({
  executor: z.string().optional(),
  kind: z.string().optional(),
  cause: z.enum(terms.deadLetterCauses).optional(),
  error_class: z.string().optional(),
  mission_id: z.uuid().optional(),
});

export const DeadLetterChange = z.object({
  id: z.uuid(),
  state: z.enum(terms.deadLetterStates),
  step_id: z.uuid(),
});

export const deadLetterCalls = {
  listDeadLetters: call(
    'ops_list_dead_letters',
    { state: arg.text.orDefault, limit: arg.int.orDefault, before: arg.timestamp.orDefault },
    rows(DeadLetter),
  ),
  requeueDeadLetter: call(
    'ops_requeue_dead_letter',
    { id: arg.uuid, reason: arg.text.orDefault },
    value(DeadLetterChange),
  ),
  requeueDeadLetters: call(
    'ops_requeue_dead_letters',
    {
      filter: arg.jsonb(DeadLetterFilter).orDefault,
      limit: arg.int.orDefault,
      perMinute: arg.int.orDefault,
      reason: arg.text.orDefault,
    },
    value(z.object({ requeued: z.int(), more: z.boolean() })),
  ),
  discardDeadLetter: call(
    'ops_discard_dead_letter',
    { id: arg.uuid, reason: arg.text },
    value(DeadLetterChange),
  ),
};
