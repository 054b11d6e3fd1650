/** The rows as the snapshot reads them; times are text in ISO 8601, epochs are numbers. */
import type {
  attemptStatuses,
  MissionStatus,
  ProposalStatus,
  StepStatus,
} from '../../../supabase/client/terms.js';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type AttemptStatus = (typeof attemptStatuses)[number];

export type EventRow = {
  id: string;
  type: string;
  trust: 'loop' | 'verified' | 'unverified';
  dedupe_key: string | null;
  data: { [key: string]: Json };
  mission_id: string | null;
  root_id: string | null;
  depth: number;
  outcome: string | null;
  processed_at: string | null;
};
export type ReactionRow = {
  id: string;
  event_id: string;
  pattern_id: string;
  status: string;
  proposal_id: string | null;
  root_id: string;
  created_at: string;
};
export type ProposalRow = {
  id: string;
  source: string;
  event_id: string | null;
  pattern_id: string | null;
  status: ProposalStatus;
  reason: string | null;
  gated_at: string | null;
  next_gate_at: string;
  expires_at: string | null;
  created_at: string;
};
export type MissionRow = {
  id: string;
  proposal_id: string;
  status: MissionStatus;
  open_steps: number;
  failed_steps: number;
  cancelled_steps: number;
  depth: number;
  completed_at: string | null;
};
export type StepRow = {
  id: string;
  mission_id: string;
  key: string;
  kind: string;
  params: { [key: string]: Json };
  executor: string;
  status: StepStatus;
  priority: number;
  ready_at: string;
  wait_reason: string | null;
  lease_epoch: number;
  worker_id: string | null;
  reserved_at: string | null;
  lease_expires_at: string | null;
  cancel_requested_at: string | null;
  failure_count: number;
  crash_count: number;
  max_retries: number | null;
  timeout_seconds: number | null;
  on_failure: 'stop' | 'continue';
  series: number;
  needs: string[];
  pending_needs: number;
  when_path: string | null;
  skipped_for: string | null;
  role: string | null;
  pattern_id: string | null;
  result: Json;
};
export type AttemptRow = {
  run_id: string;
  step_id: string;
  executor: string;
  worker_id: string;
  status: AttemptStatus;
  started_at: string;
  completed_at: string | null;
};
export type LetterRow = {
  id: string;
  step_id: string;
  mission_id: string;
  series: number;
  executor: string;
  cause: string;
  attempts: number;
  error_class: string | null;
  state: 'open' | 'requeued' | 'discarded';
  resolved_at: string | null;
  created_at: string;
};
export type LimitRow = { key: string; window_start: string; used: number };

export type Bounds = { max_running?: number; rate?: { count: number; per_minutes: number } };
export type WorkerPolicy = {
  max_retries?: number;
  stale_minutes?: number;
  timeout_seconds?: number;
  backoff?: { base_seconds?: number; cap_seconds?: number };
  executors?: Record<string, Bounds & { timeout_seconds?: number }>;
  allowed_executors?: string[];
  blocked_executors?: string[];
  breaker?: { consecutive: number; window_minutes: number };
};
export type Caps = {
  daily_limit?: number;
  hourly_limit?: number;
  per_source?: number;
  per_pattern?: number;
  max_pending?: number;
  on_exceed?: 'wait' | 'reject';
};
export type Retention = Partial<
  Record<'days' | 'events_days' | 'missions_days' | 'runs_days' | 'dead_letters_days', number>
>;
export type Policies = {
  reaction_matrix: { patterns: { id: string }[] };
  auto_approve: { enabled: boolean; daily_limit?: number };
  proposal_caps: Caps;
  worker_policy: WorkerPolicy;
  switches?: { scopes?: Record<string, { mode: 'run' | 'drain' | 'halt' }> };
  loop_limits?: { max_depth?: number; max_fan_out?: number };
  approvals?: { expires_minutes?: number; default_action?: string };
};

type Tables = {
  events: EventRow[];
  reactions: ReactionRow[];
  proposals: ProposalRow[];
  missions: MissionRow[];
  steps: StepRow[];
  attempts: AttemptRow[];
  letters: LetterRow[];
  limits: LimitRow[];
  policies: Policies;
};

/** The tables, and the look-ups that the rules need. */
export class Indexed {
  readonly text: string;
  readonly tables: Tables;
  readonly steps: Map<string, StepRow>;
  readonly missions: Map<string, MissionRow>;
  readonly proposals: Map<string, ProposalRow>;
  readonly attempts: Map<string, AttemptRow>;
  readonly events: Map<string, EventRow>;

  constructor(text: string) {
    this.text = text;
    this.tables = JSON.parse(text) as Tables;
    this.steps = new Map(this.tables.steps.map((row) => [row.id, row]));
    this.missions = new Map(this.tables.missions.map((row) => [row.id, row]));
    this.proposals = new Map(this.tables.proposals.map((row) => [row.id, row]));
    this.attempts = new Map(this.tables.attempts.map((row) => [row.run_id, row]));
    this.events = new Map(this.tables.events.map((row) => [row.id, row]));
  }

  get policies(): Policies {
    return this.tables.policies;
  }

  stepsOf(mission: string): StepRow[] {
    return this.tables.steps.filter((step) => step.mission_id === mission);
  }

  /** Whether a scope is paused; in either mode it starts nothing new. */
  paused(...scopes: string[]): boolean {
    const set = this.policies.switches?.scopes ?? {};
    return scopes.some((scope) => set[scope] !== undefined && set[scope]?.mode !== 'run');
  }

  reacted(event: string, pattern: string): boolean {
    return this.tables.reactions.some((r) => r.event_id === event && r.pattern_id === pattern);
  }
}

export type Snapshot = Indexed;

/** Milliseconds of a time as PostgreSQL writes it; `-infinity` is long ago. */
export const ms = (time: string | null): number =>
  time === null ? Number.NaN : time === '-infinity' ? Number.NEGATIVE_INFINITY : Date.parse(time);
