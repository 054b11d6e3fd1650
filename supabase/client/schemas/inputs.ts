/** What callers hand to the engine, as zod schemas. Members are named as the engine's JSON names them. */
import { z } from 'zod';
import { JsonText } from '../json-text.js';
import * as terms from '../terms.js';

const document = z.record(z.string(), z.json());

/** Event types are words joined by colons: `github:issues:opened`. At most 200 characters. */
export const eventType = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)*$/);

export const EventInput = z.strictObject({
  type: eventType,
  source: z.string().min(1).max(200).optional(),
  data: document.optional(),
  /** A second event with the same key is the first one. */
  dedupe_key: z.string().min(1).max(500).optional(),
  /** Digest of the signed body: a replay under a fresh delivery id is the same event. */
  body_digest: z.string().max(200).optional(),
  /** `verified` unless the sender proved nothing; `loop` is the engine's own and refused here. */
  trust: z.enum(['verified', 'unverified']).optional(),
  traceparent: z.string().max(100).optional(),
});

/** An event whose data may also be the text that it was sent in. */
export const SentEvent = EventInput.extend({
  data: z.union([document, z.instanceof(JsonText)]).optional(),
});

export const LeaseRef = z.strictObject({ step_id: z.uuid(), lease_epoch: z.int() });

/** An event that a step raises; it is emitted in the transaction that records the step. */
export const StepEvent = z.strictObject({
  type: eventType,
  data: document.optional(),
  dedupe_key: z.string().max(500).optional(),
});
/** By executor: where the queue is looked at from. */
export const ClaimMarks = z.record(z.string(), z.object({ priority: z.int(), ready_at: z.string() }));
export const StepResult = z.strictObject({
  step_id: z.uuid(),
  lease_epoch: z.int(),
  result: z.json(),
  events: z.array(StepEvent).optional(),
  /** Tokens, money and whatever else the executor measured; kept with the attempt. */
  meta: document.optional(),
});
export const StepFailure = z.strictObject({
  step_id: z.uuid(),
  lease_epoch: z.int(),
  outcome: z.enum(terms.failureOutcomes),
  error: z.string(),
  /** Groups like errors: `TimeoutError`, `OPS_007`, an HTTP status. */
  error_class: z.string().optional(),
  /** Seconds to wait before the next try, when the other side said so. */
  retry_after_seconds: z.number().optional(),
  meta: document.optional(),
});

export const ExecutorRegistration = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/),
  params_schema: document,
  result_schema: document.nullable().optional(),
  traits: z.strictObject({
    idempotent: z.boolean(),
    risk: z.enum(terms.riskLevels),
    /** How many run at once in one worker process; null is the worker's own concurrency. */
    local_limit: z.int().positive().nullable().optional(),
    needs: z.array(z.string()).optional(),
    touches: z.array(z.enum(['secrets', 'outside'])).optional(),
    /** A parameter: one step at a time per value of it. */
    exclusive: z.string().max(200).nullable().optional(),
    /** Parameters that no placeholder may stand in. */
    fixed: z.array(z.string()).optional(),
  }),
});

/** Which dead letters; all given members must hold. */
export const DeadLetterFilter = z.strictObject({
  executor: z.string().optional(),
  kind: z.string().optional(),
  cause: z.enum(terms.deadLetterCauses).optional(),
  error_class: z.string().optional(),
  mission_id: z.uuid().optional(),
});

export const RadarInput = z.strictObject({
  title: z.string().min(1).max(500),
  description: z.string().max(20_000).optional(),
  source: z.string().min(1).max(200).optional(),
  /** Who says so, and where it can be read. What the sender claims: shown, never acted on. */
  by: z.string().min(1).max(200).nullable().optional(),
  link: z
    .string()
    .max(2_000)
    .regex(/^[hH][tT][tT][pP][sS]?:\/\/\S+$/)
    .nullable()
    .optional(),
  tags: z.array(z.string().max(100)).max(50).optional(),
  /** Whatever was said, kept with the mention; of more than 2,000 bytes the beginning. */
  evidence: z.json().optional(),
  /** Multiplies the score of a signal that is new; a known one keeps its own. */
  weight: z.number().min(0).max(100).optional(),
  /** Same key, same signal. The title by default. */
  dedupe_key: z.string().min(1).max(500).optional(),
  /** Same key, same mention: counted once. */
  mention_key: z.string().min(1).max(500).optional(),
});

/** The slots of one schedule up to `until`, computed under one version of the policy. */
export const SlotPlan = z.strictObject({
  id: z.string(),
  revision: z.int(),
  until: z.iso.datetime({ offset: true }),
  slots: z.array(z.iso.datetime({ offset: true })),
});

/** What a worker says of one model provider. Times are distances in milliseconds, for the database's own clock. */
export const LlmReport = z.strictObject({
  provider: z.string(),
  model: z.string().nullable(),
  state: z.enum(terms.llmStates),
  failures: z.int(),
  calls: z.int(),
  failed_calls: z.int(),
  latency_p50_ms: z.number().nullable(),
  latency_p95_ms: z.number().nullable(),
  opened_ms_ago: z.number().nullable(),
  asked_again_in_ms: z.number().nullable(),
  last_error: z.string().nullable(),
  last_error_ms_ago: z.number().nullable(),
  last_success_ms_ago: z.number().nullable(),
  /** The last reset that it has carried out. */
  reset_done: z.int(),
});

export type EventInput = z.input<typeof EventInput>;
export type SentEvent = z.input<typeof SentEvent>;
export type ClaimMarks = z.infer<typeof ClaimMarks>;
export type StepResult = z.input<typeof StepResult>;
export type StepFailure = z.input<typeof StepFailure>;
export type LlmReport = z.infer<typeof LlmReport>;
export type LeaseRef = z.infer<typeof LeaseRef>;
export type ExecutorRegistration = z.infer<typeof ExecutorRegistration>;
