/** The rows and documents that the engine answers, as zod schemas. Names are the columns' own. */
import { z } from 'zod';
import * as terms from '../terms.js';

/** Timestamps leave the engine as ISO 8601 text with an offset, whichever driver carried them. */
export const timestamp = z.union([z.string(), z.date().transform((d) => d.toISOString())]);
const count = z.coerce.number();
export const json = z.json();
const document = z.record(z.string(), json);

export const EventReceipt = z.object({
  /** Place in the list that was sent, from 0. */
  position: z.int(),
  id: z.uuid(),
  created: z.boolean(),
  /** Which key made it a duplicate: of the delivery (`dedupe_key`) or of the signed body (`body_digest`). */
  duplicate_of: z.enum(['dedupe_key', 'body_digest']).nullable(),
});
export const EmittedEvent = z.object({ id: z.uuid(), created: z.boolean() });

export const BeatRound = z.object({
  ok: z.boolean(),
  /** Some phase filled its batch: call again. */
  more: z.boolean(),
  beat_id: z.uuid().nullable(),
  triggerResult: z.object({ events: count, queued: count }),
  reactionResult: z.object({ processed: count, created: count }),
  leaseResult: z.object({ requeued_steps: count, failed_steps: count }),
  staleResult: z.object({ recovered: count }),
  gateResult: z.object({ gated: count, approved: count, rejected: count, expired: count }),
  /** Phases that ran: a switch may have paused some. */
  phases: count,
  failures: z.array(z.object({ phase: z.string(), code: z.string(), message: z.string() })),
});

export const ProposalReceipt = z.object({
  id: z.uuid(),
  status: z.enum(terms.proposalStatuses),
  created: z.boolean(),
  reason: z.string().nullable(),
  mission_id: z.uuid().nullable(),
});
export const ProposalReceiptRow = ProposalReceipt.extend({ position: z.int() });
export const GateVerdict = z.object({ ok: z.boolean(), reason: z.string() });

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
});
export const Renewal = z.object({
  step_id: z.uuid(),
  held: z.boolean(),
  cancel_requested: z.boolean(),
  halted: z.boolean(),
});
export const WriteBack = z.object({
  step_id: z.uuid(),
  lease_epoch: count,
  /** False: the lease was lost, nothing was written. */
  held: z.boolean(),
  status: z.enum(terms.stepStatuses).nullable(),
});
export const FailureWriteBack = WriteBack.extend({
  ready_at: timestamp.nullable(),
  dead_lettered: z.boolean(),
});

export const Registration = z.object({
  accepted: z.boolean(),
  schema_version: z.string(),
  holder: z.object({ instance: z.uuid(), host: z.string(), pid: z.int(), seen_at: timestamp }).nullable(),
});
/** `now` is the database's: a worker waits the difference, whatever its own clock says. */
export const WorkerIdle = z.object({ now: timestamp, next_due_at: timestamp.nullable() });
export const WorkerConfig = z.object({
  worker_policy: document,
  agent_roles: document,
  switches: document,
});

export const LeaseRecovery = z.object({ requeued_steps: count, failed_steps: count });
export const StaleRecovery = z.object({ recovered: count });
export const StepChange = z.object({
  id: z.uuid(),
  status: z.enum(terms.stepStatuses),
  mission_id: z.uuid(),
});
export const MissionChange = z.object({
  id: z.uuid(),
  status: z.enum(terms.missionStatuses),
  steps: count,
});

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
export const DeadLetterChange = z.object({
  id: z.uuid(),
  state: z.enum(terms.deadLetterStates),
  step_id: z.uuid(),
});

export const ProposalRow = z.object({
  id: z.uuid(),
  title: z.string().nullable(),
  source: z.enum(terms.proposalSources),
  status: z.enum(terms.proposalStatuses),
  risk: z.string().nullable(),
  reason: z.string().nullable(),
  pattern_id: z.string().nullable(),
  event_id: z.uuid().nullable(),
  template: json,
  /** What an approval names, so that it holds for exactly what was shown. */
  content_hash: z.string().nullable(),
  created_at: timestamp,
});

export const RadarReceipt = z.object({
  position: z.int(),
  id: z.uuid(),
  created: z.boolean(),
  mentions: z.int(),
  score: count,
  stage: z.enum(terms.radarStages),
});
export const RadarSignal = z.object({
  id: z.uuid(),
  title: z.string(),
  description: z.string().nullable(),
  source: z.string(),
  stage: z.enum(terms.radarStages),
  score: count,
  tags: z.array(z.string()),
  evidence: json,
  mentions: z.int(),
  dedupe_key: z.string(),
  first_seen_at: timestamp,
  last_seen_at: timestamp,
});

export const PolicyProblem = z.object({
  severity: z.enum(['error', 'warning']),
  path: z.string(),
  message: z.string(),
  fix: z.string().nullable(),
});
export const Policy = z.object({ key: z.string(), value: json, version: count, updated_at: timestamp });
export const PolicyHistory = z.object({
  key: z.string(),
  version: count,
  operation: z.enum(['insert', 'update', 'delete']),
  value: json,
  old_value: json,
  updated_at: timestamp,
  role: z.string(),
  session_role: z.string(),
  application: z.string().nullable(),
  query: z.string().nullable(),
  reason: z.string().nullable(),
});
export const PolicyVersion = z.object({ key: z.string(), version: count });

export const Health = z.object({
  status: z.enum(['healthy', 'degraded', 'unhealthy']),
  schema_version: z.string(),
  last_beat_at: timestamp.nullable(),
  open_events: count,
  oldest_open_event_seconds: count.nullable(),
  queued_steps: count,
  running_steps: count,
  expired_leases: count,
  pending_proposals: count,
  open_dead_letters: count,
  workers: count,
  problems: z.array(z.string()),
});
/** Counts for people: each member maps a status to a number. */
export const Status = z.object({
  events: z.record(z.string(), count),
  reactions: z.record(z.string(), count),
  proposals: z.record(z.string(), count),
  missions: z.record(z.string(), count),
  steps: z.record(z.string(), count),
  attempts: z.record(z.string(), count),
  dead_letters: z.record(z.string(), count),
  radar: z.record(z.string(), count),
  workers: z.array(
    z.object({
      name: z.string(),
      host: z.string(),
      seen_at: timestamp,
      running: count,
      executors: z.array(z.string()),
    }),
  ),
  switches: document,
  /** Milliseconds from event to proposal and from queued to claimed, over the last hour. */
  latencies: z.record(
    z.string(),
    z.object({ p50_ms: count.nullable(), p95_ms: count.nullable(), samples: count }),
  ),
  /** What the counts of each table cover: all of it, or its finished rows of the last 24 hours. */
  window: z.record(z.string(), z.string()),
  /** Steps that wait in `scheduled`, by what they wait for. */
  waiting: z.record(z.string(), count),
});
export const InvariantViolation = z.object({
  invariant: z.string(),
  entity: z.string(),
  id: z.string(),
  detail: json,
});
/** A sentence a person understands, with everything it rests on beside it. */
export const Explanation = z.looseObject({
  kind: z.enum(['event', 'proposal', 'step', 'mission']),
  id: z.uuid(),
  sentences: z.array(z.string()),
});
/** One node of the causal tree, oldest first. */
export type TraceNode = {
  kind: 'event' | 'decision' | 'reaction' | 'proposal' | 'mission' | 'step' | 'attempt';
  id: string;
  label: string;
  status: string | null;
  at: string | null;
  detail: z.infer<typeof json>;
  children: TraceNode[];
};
export const TraceNode: z.ZodType<TraceNode> = z.object({
  kind: z.enum(['event', 'decision', 'reaction', 'proposal', 'mission', 'step', 'attempt']),
  id: z.string(),
  label: z.string(),
  status: z.string().nullable(),
  at: z.string().nullable(),
  detail: json,
  get children(): z.ZodType<TraceNode[]> {
    return z.array(TraceNode);
  },
});

export type EventReceipt = z.infer<typeof EventReceipt>;
export type BeatRound = z.infer<typeof BeatRound>;
export type ClaimedStep = z.infer<typeof ClaimedStep>;
export type Renewal = z.infer<typeof Renewal>;
export type WriteBack = z.infer<typeof WriteBack>;
export type FailureWriteBack = z.infer<typeof FailureWriteBack>;
export type Status = z.infer<typeof Status>;
export type Health = z.infer<typeof Health>;
export type DeadLetter = z.infer<typeof DeadLetter>;
