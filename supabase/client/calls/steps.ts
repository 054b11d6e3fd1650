/**
 * The hot path: a worker claims steps under a lease, renews it, and writes back what became of them. Every write-back
 * names step and lease epoch; under an ended lease it changes nothing, and its row says so (`held: false`). The
 * functions stand in 0007_ops_steps.sql.
 */
import { z } from 'zod';
import { arg, call, rows } from '../call.js';
import { count, document, json, timestamp } from '../schemas/values.js';
import * as terms from '../terms.js';
import { eventType } from './events.js';

/** By executor: where the queue is looked at from. */
export const ClaimMarks = z.record(z.string(), z.object({ priority: z.int(), ready_at: z.string() }));
export type ClaimMarks = z.infer<typeof ClaimMarks>;

export const ClaimedStep = z.object({
  id: z.uuid(),
  mission_id: z.uuid(),
  key: z.string(),
  kind: z.string(),
  executor: z.string(),
  params: document,
  /** The fence: every write-back names it. */
  lease_epoch: count,
  lease_expires_at: timestamp,
  /** 1 for the first try of this series. */
  attempt: z.int(),
  timeout_seconds: count.nullable(),
  role: z.string().nullable(),
  traceparent: z.string().nullable(),
  /** It goes through every state, and its executor is not called. */
  dry_run: z.boolean(),
  /** With `ready_at` its place in the queue of its executor. */
  priority: z.int(),
  ready_at: timestamp,
});
export type ClaimedStep = z.infer<typeof ClaimedStep>;

export const LeaseRef = z.strictObject({ step_id: z.uuid(), lease_epoch: z.int() });
export type LeaseRef = z.infer<typeof LeaseRef>;

export const Renewal = z.object({
  step_id: z.uuid(),
  held: z.boolean(),
  cancel_requested: z.boolean(),
  halted: z.boolean(),
});
export type Renewal = z.infer<typeof Renewal>;

/** An event that a step raises; it is emitted in the transaction that records the step. */
export const StepEvent = z.strictObject({
  type: eventType,
  data: document.optional(),
  dedupe_key: z.string().max(500).optional(),
});

export const StepResult = LeaseRef.extend({
  result: json,
  events: z.array(StepEvent).optional(),
  /** Tokens, money and whatever else the executor measured; kept with the attempt. */
  meta: document.optional(),
});
export type StepResult = z.input<typeof StepResult>;

export const WriteBack = z.object({
  step_id: z.uuid(),
  lease_epoch: count,
  /** False: the lease was lost, nothing was written. */
  held: z.boolean(),
  status: z.enum(terms.stepStatuses).nullable(),
});
export type WriteBack = z.infer<typeof WriteBack>;

export const StepFailure = LeaseRef.extend({
  outcome: z.enum(terms.failureOutcomes),
  error: z.string(),
  /** Groups like errors: `TimeoutError`, `OPS_007`, an HTTP status. */
  error_class: z.string().optional(),
  /** Seconds to wait before the next try, when the other side said so. */
  retry_after_seconds: z.number().optional(),
  meta: document.optional(),
});
export type StepFailure = z.input<typeof StepFailure>;

export const FailureWriteBack = WriteBack.extend({
  ready_at: timestamp.nullable(),
  dead_lettered: z.boolean(),
});
export type FailureWriteBack = z.infer<typeof FailureWriteBack>;

export const stepCalls = {
  claimSteps: call(
    'ops_claim_steps',
    {
      worker: arg.text,
      executors: arg.texts,
      limit: arg.int.orDefault,
      leaseSeconds: arg.numeric.orDefault,
      marks: arg.jsonb(ClaimMarks).orDefault,
    },
    rows(ClaimedStep),
  ),
  renewLeases: call(
    'ops_renew_leases',
    {
      worker: arg.text,
      leases: arg.jsonb(z.array(LeaseRef)),
      leaseSeconds: arg.numeric.orDefault,
      instance: arg.uuid.orDefault,
    },
    rows(Renewal),
  ),
  completeSteps: call(
    'ops_complete_steps',
    { worker: arg.text, results: arg.jsonb(z.array(StepResult)) },
    rows(WriteBack),
  ),
  failSteps: call(
    'ops_fail_steps',
    { worker: arg.text, failures: arg.jsonb(z.array(StepFailure)) },
    rows(FailureWriteBack),
  ),
  releaseSteps: call(
    'ops_release_steps',
    { worker: arg.text, leases: arg.jsonb(z.array(LeaseRef)) },
    rows(WriteBack),
  ),
};
