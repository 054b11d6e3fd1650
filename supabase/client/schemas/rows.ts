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
  /** `unplanned`: schedules whose coming slots somebody has to compute. */
  scheduleResult: z.object({ fired: count, missed: count, unplanned: count }),
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
  /** It goes through every state, and its executor is not called. */
  dry_run: z.boolean(),
  /** With `ready_at` its place in the queue of its executor. */
  priority: z.int(),
  ready_at: timestamp,
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

/** Two tokens for `/api/ops/links/<token>`; the database keeps their hashes only. */
export const ApprovalLinks = z.object({
  approve: z.string(),
  reject: z.string(),
  proposal_id: z.uuid(),
  title: z.string().nullable(),
  risk: z.string().nullable(),
  expires_at: timestamp,
});
export const LinkLook = z.object({
  verdict: z.enum(['approve', 'reject']),
  actor: z.string(),
  expires_at: timestamp,
  state: z.enum(['open', 'used', 'ended', 'expired', 'gone', 'decided', 'changed']),
  /** The state in words; null while it is open. */
  why_not: z.string().nullable(),
  proposal_id: z.uuid(),
  title: z.string().nullable(),
  risk: z.string().nullable(),
  status: z.enum(terms.proposalStatuses).nullable(),
  reason: z.string().nullable(),
  created_at: timestamp.nullable(),
  pattern_id: z.string().nullable(),
  /** What would run; null unless the link is open. */
  template: json,
});
export const LinkUse = ProposalReceipt.extend({ verdict: z.enum(['approve', 'reject']) });
/** `counted` is false when the proposal was decided before the vote came. */
export const StepVote = ProposalReceipt.extend({ voter: z.string(), counted: z.boolean() });

export const RadarReceipt = z.object({
  position: z.int(),
  id: z.uuid(),
  created: z.boolean(),
  /** False: this mention was counted before, by its key. */
  counted: z.boolean(),
  mentions: z.int(),
  score: count,
  stage: z.enum(terms.radarStages),
});
const radarSignal = {
  id: z.uuid(),
  title: z.string(),
  source: z.string(),
  stage: z.enum(terms.radarStages),
  /** As it is now: it fades from one mention to the next. */
  score: count,
  weight: count,
  tags: z.array(z.string()),
  mentions: z.int(),
  dedupe_key: z.string(),
  first_seen_at: timestamp,
  last_seen_at: timestamp,
  moved_at: timestamp.nullable(),
  merged_into: z.uuid().nullable(),
};
export const RadarSignal = z.object({
  ...radarSignal,
  /** How many distinct ones. */
  sources: z.int(),
  /** Names the page that begins after this row. */
  cursor: z.string(),
});
const radarNext = z.array(z.enum(terms.radarStages));
export const RadarDetail = z.object({
  ...radarSignal,
  description: z.string().nullable(),
  sources: z.array(z.string()),
  /** The stages it may move to. */
  next: radarNext,
  moved_by: z.string().nullable(),
  move_reason: z.string().nullable(),
  moved_step: z.uuid().nullable(),
  /** The latest 100 mentions, newest last: `{at, source, by?, link?, step_id?, data?}`. */
  evidence: z.array(document),
});
export const RadarMove = z.object({
  id: z.uuid(),
  stage: z.enum(terms.radarStages),
  from: z.enum(terms.radarStages),
  /** False: it was there already, or this step has made this move before. */
  changed: z.boolean(),
  next: radarNext,
});
export const RadarWeight = z.object({ id: z.uuid(), weight: count, score: count, changed: z.boolean() });
export const RadarMerge = z.object({
  id: z.uuid(),
  from: z.uuid(),
  changed: z.boolean(),
  mentions: z.int(),
  score: count,
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
  /** Names of the invariants that what is open breaks. */
  violations: z.array(z.string()),
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

/** What the maker of a key is told; the key itself is known to nobody else. */
export const KeyReceipt = z.object({
  id: z.uuid(),
  label: z.string(),
  scope: z.enum(terms.keyScopes),
  prefix: z.string(),
  created_at: timestamp,
  expires_at: timestamp.nullable(),
  /** The key it took the place of, and until when that one still opens. */
  replaces: z.object({ prefix: z.string(), expires_at: timestamp }).nullable(),
});
/** `lives_seconds` is null for what has no end. */
export const KeyHolder = z.object({
  id: z.uuid(),
  label: z.string(),
  scope: z.enum(terms.keyScopes),
  lives_seconds: z.number().nullable(),
});
export const SessionHolder = z.object({
  label: z.string(),
  scope: z.enum(['operator', 'viewer']),
  key_id: z.uuid().nullable(),
  lives_seconds: z.number(),
});
export const RevokedKey = z.object({ label: z.string(), scope: z.enum(terms.keyScopes), prefix: z.string() });
export const ListedKey = z.object({
  place: z.enum(['environment', 'database']),
  id: z.uuid().nullable(),
  /** Of a secret of the environment: the name of its variable. */
  label: z.string(),
  /** That of a key; `operator`, `heartbeat` or `webhook` of a secret of the environment. */
  scope: z.string(),
  prefix: z.string().nullable(),
  state: z.enum(['live', 'replaced', 'expired', 'revoked']),
  age_days: count,
  created_by: z.string().nullable(),
  created_at: timestamp,
  expires_at: timestamp.nullable(),
  last_used_at: timestamp.nullable(),
  rotated_from: z.uuid().nullable(),
  revoked_at: timestamp.nullable(),
  revoked_by: z.string().nullable(),
  revoke_reason: z.string().nullable(),
});
export const KeyProblem = z.object({ severe: z.boolean(), problem: z.string() });
export const RateVerdict = z.object({
  allowed: z.boolean(),
  left: z.int(),
  retry_after_seconds: z.number(),
});

/** What one call of `ops_archive` deleted, or would have (`dry_run`). */
export const Archived = z.object({
  rows: count,
  /** Rows by table. */
  tables: z.record(z.string(), count),
  /** What finished before these times may go, by member of the retention policy. */
  before: z.record(z.string(), timestamp),
  /** The walk has not come to its end: call again with `cursor`. */
  more: z.boolean(),
  cursor: count.nullable(),
  /** How far the walk has come. */
  pages: z.object({ walked: count, all: count }),
  dry_run: z.boolean(),
});

export type KeyReceipt = z.infer<typeof KeyReceipt>;
export type ListedKey = z.infer<typeof ListedKey>;
export type SessionHolder = z.infer<typeof SessionHolder>;
export const LlmResetWanted = z.object({ provider: z.string(), reset_wanted: count });
export const LlmHealth = z.object({
  /** Of the living workers: nobody can be asked when `down`, none has reported when `unknown`. */
  status: z.enum(['healthy', 'degraded', 'down', 'unknown']),
  at: timestamp,
  providers: z.array(
    z.object({
      worker: z.string(),
      alive: z.boolean(),
      provider: z.string(),
      model: z.string().nullable(),
      state: z.enum(terms.llmStates),
      /** In a row. */
      failures: count,
      calls: count,
      failed_calls: count,
      latency_p50_ms: count.nullable(),
      latency_p95_ms: count.nullable(),
      opened_at: timestamp.nullable(),
      asked_again_at: timestamp.nullable(),
      /** Its sort and HTTP status, such as `server 503`. */
      last_error: z.string().nullable(),
      last_error_at: timestamp.nullable(),
      last_success_at: timestamp.nullable(),
      reset_pending: z.boolean(),
      reported_at: timestamp,
    }),
  ),
});

export const Alert = z.object({
  name: z.string(),
  level: z.enum(terms.alertLevels),
  /** Null when there is too little to judge by. */
  value: z.number().nullable(),
  unit: z.string(),
  /** True: a value under the threshold is the bad one. */
  below: z.boolean(),
  warning: z.number().nullable(),
  critical: z.number().nullable(),
  /** What a rate was measured on; null for everything else. */
  samples: count.nullable(),
  /** The executor, source, key or provider that is worst. */
  subject: z.string().nullable(),
  title: z.string(),
  sentence: z.string(),
  /** The command, or the SQL, to look with. */
  hint: z.string(),
  /** What the heartbeat has raised last, and when; null before its first look. */
  raised_level: z.enum(terms.alertLevels).nullable(),
  since: timestamp.nullable(),
});
export const Metric = z.object({
  name: z.string(),
  type: z.enum(['counter', 'gauge']),
  help: z.string(),
  labels: z.record(z.string(), z.string()),
  value: z.number().nullable(),
});
export const RecordedBackup = z.object({ id: z.uuid(), taken_at: timestamp });

export type Alert = z.infer<typeof Alert>;
export type Metric = z.infer<typeof Metric>;
export type Archived = z.infer<typeof Archived>;
export type EventReceipt = z.infer<typeof EventReceipt>;
export type BeatRound = z.infer<typeof BeatRound>;
export type ClaimedStep = z.infer<typeof ClaimedStep>;
export type Renewal = z.infer<typeof Renewal>;
export type WriteBack = z.infer<typeof WriteBack>;
export type FailureWriteBack = z.infer<typeof FailureWriteBack>;
export type Status = z.infer<typeof Status>;
export type LlmHealth = z.infer<typeof LlmHealth>;
export type Health = z.infer<typeof Health>;
export type DeadLetter = z.infer<typeof DeadLetter>;
export type ApprovalLinks = z.infer<typeof ApprovalLinks>;
export type LinkLook = z.infer<typeof LinkLook>;
export type LinkUse = z.infer<typeof LinkUse>;

export const Budget = z.object({
  /** Such as `role:scout:usd:day`. */
  budget: z.string(),
  unit: z.enum(['usd', 'tokens', 'runs']),
  cap: count,
  spent: count,
  reserved: count,
  remaining: count,
  /** Steps that wait for it. */
  waiting: count,
  starts_at: timestamp,
  ends_at: timestamp,
});

/** What patterns and gates would do with a page of events. */
const SimulatedSide = z.object({
  /** `{pattern: {outcome: count}}` */
  patterns: z.record(z.string(), z.partialRecord(z.enum(terms.eventOutcomes), count)),
  proposals: count,
  auto_approved: count,
  waiting: count,
  /** At the reserves of `budgets`. */
  usd: count,
  tokens: count,
});
const SimulatedDecision = z.object({
  outcome: z.enum(terms.eventOutcomes),
  clause: z.string().nullable(),
  detail: json,
});
const difference = { event_id: z.uuid(), type: z.string(), created_at: timestamp, pattern_id: z.string() };
const differences = <S extends z.ZodRawShape>(sides: S) =>
  z.object({
    count,
    /** Firings that the second side has and the first has not; `stops` is the reverse. */
    starts: count,
    stops: count,
    first: z.array(z.object({ ...difference, ...sides })),
  });
const decided = SimulatedDecision.nullable();
export const SimulationPage = z.object({
  events: count,
  since: timestamp,
  until: timestamp,
  live: SimulatedSide,
  draft: SimulatedSide,
  differences: differences({ live: decided, draft: decided }),
  /** Where today's live policy decides otherwise than was decided then; null for given events. */
  recorded: differences({ recorded: decided, live: decided }).nullable(),
  /** The draft's own decisions, for given events. */
  decisions: z.array(SimulatedDecision.extend({ event_id: z.uuid(), pattern_id: z.string() })).nullable(),
  more: z.boolean(),
  cursor: document.nullable(),
});
export type SimulationPage = z.infer<typeof SimulationPage>;

export const ScheduleToPlan = z.object({
  id: z.string(),
  cron: z.string(),
  time_zone: z.string(),
  revision: count,
  from_at: timestamp,
  until_at: timestamp,
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
});

const mission = {
  id: z.uuid(),
  proposal_id: z.uuid(),
  status: z.enum(terms.missionStatuses),
  title: z.string().nullable(),
  pattern_id: z.string().nullable(),
  open_steps: z.int(),
  failed_steps: z.int(),
  cancelled_steps: z.int(),
  started_at: timestamp.nullable(),
  completed_at: timestamp.nullable(),
  created_at: timestamp,
  updated_at: timestamp,
};
export const MissionRow = z.object({
  ...mission,
  /** Names the page that begins after this row. */
  cursor: z.string(),
});
export const Mission = z.object({
  ...mission,
  policy_snapshot: document,
  total_steps: count,
  /** In their order; of more than 1,000 the first. */
  steps: z.array(
    z.object({
      id: z.uuid(),
      key: z.string(),
      kind: z.string(),
      executor: z.string(),
      status: z.enum(terms.stepStatuses),
      wait_reason: z.string().nullable(),
      worker_id: z.string().nullable(),
      failure_count: z.int(),
      last_error: z.string().nullable(),
      ready_at: timestamp,
      updated_at: timestamp,
    }),
  ),
});
export const Step = z.object({
  id: z.uuid(),
  mission_id: z.uuid(),
  key: z.string(),
  kind: z.string(),
  executor: z.string(),
  status: z.enum(terms.stepStatuses),
  wait_reason: z.string().nullable(),
  priority: z.int(),
  ready_at: timestamp,
  params: json,
  result: json,
  last_error: z.string().nullable(),
  worker_id: z.string().nullable(),
  lease_epoch: count,
  reserved_at: timestamp.nullable(),
  lease_expires_at: timestamp.nullable(),
  cancel_requested_at: timestamp.nullable(),
  failure_count: z.int(),
  crash_count: z.int(),
  max_retries: z.int().nullable(),
  timeout_seconds: z.number().nullable(),
  on_failure: z.enum(['stop', 'continue']),
  series: z.int(),
  needs: z.array(z.uuid()),
  dry_run: z.boolean(),
  skipped_for: z.uuid().nullable(),
  created_at: timestamp,
  updated_at: timestamp,
  /** Its open dead letter. */
  dead_letter_id: z.uuid().nullable(),
  /** The latest 50, newest first. */
  attempts: z.array(
    z.object({
      run_id: z.string(),
      status: z.enum(terms.attemptStatuses),
      executor: z.string(),
      worker_id: z.string().nullable(),
      started_at: timestamp,
      completed_at: timestamp.nullable(),
      meta: json,
      error: z.string().nullable(),
    }),
  ),
});
/** A row as it is now; its status is null for an event that is still open. */
export const Change = z.object({
  kind: z.enum(['event', 'mission', 'proposal']),
  id: z.uuid(),
  /** Type of an event, title of a mission or proposal. */
  name: z.string().nullable(),
  status: z.string().nullable(),
  at: timestamp,
  mission_id: z.uuid().nullable(),
});
export type Change = z.infer<typeof Change>;

/** One span as OpenTelemetry has it; times in microseconds since 1970. */
export const Span = z.object({
  trace_id: z.string(),
  span_id: z.string(),
  parent_span_id: z.string().nullable(),
  name: z.string(),
  start_us: z.int(),
  end_us: z.int(),
  error: z.boolean(),
  attributes: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
});
export type Span = z.output<typeof Span>;
export const TakenSpans = z.object({ spans: z.array(Span), more: z.boolean() });
export const TraceContext = z.object({ mission_id: z.uuid(), traceparent: z.string() });
