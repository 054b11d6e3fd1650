/**
 * The words of Ops-Loop, one meaning each. SQL, TypeScript, logs and pages use these and no synonyms.
 *
 * - **event**: something that happened; a row of `ops_agent_events`.
 * - **pattern**: one rule of the reaction matrix. **decision**: what one pattern said about one event.
 * - **reaction**: one pattern fired by one event. **proposal**: work asked for, waiting for its gates.
 * - **mission**: an approved proposal being carried out. **step**: one unit of a mission.
 * - **attempt**: one try at a step (`ops_action_runs`); counted, may be given back, so it is not the fence.
 * - **claim**: the act of taking a step. **lease**: the time-bound right a claim gives.
 *   **renew** extends it, **recover** ends expired ones, **release** gives it back unharmed.
 * - **lease epoch**: the fencing token; rises at every claim and is named by every write-back.
 * - **hold**: a step kept out of the queue by a switch or a limit; `wait_reason` says which.
 * - **dead letter**: a step that is out of attempts, kept with its reason. **requeue**: a fresh series from it.
 * - **dedupe key**: makes a second submit return the first.
 * - **signal**: something that people ask for, on the demand radar. **mention**: one time that somebody asked.
 * - **heartbeat** (beat): one call of the endpoint; it runs **rounds** of `ops_heartbeat` until nothing is left.
 */

export const eventOutcomes = ['fired', 'unmatched', 'suppressed', 'failed'] as const;
export const proposalSources = ['api', 'trigger', 'reaction', 'manual', 'schedule'] as const;
export const proposalStatuses = [
  'pending',
  'approved',
  'auto_approved',
  'rejected',
  'expired',
  'voting',
] as const;
export const missionStatuses = ['approved', 'running', 'succeeded', 'failed', 'cancelled'] as const;
export const stepStatuses = [
  'blocked',
  'scheduled',
  'queued',
  'running',
  'succeeded',
  'failed',
  'skipped',
  'cancelled',
] as const;
export const attemptStatuses = [
  'started',
  'succeeded',
  'failed',
  'timed_out',
  'cancelled',
  'unknown',
  'crashed',
  'released',
] as const;
/** How a worker may end an attempt that did not succeed. */
export const failureOutcomes = [
  'retryable',
  'permanent',
  'rate_limited',
  'timed_out',
  'cancelled',
  'unknown',
] as const;
export const deadLetterCauses = ['exhausted', 'permanent', 'unknown', 'worker_crash'] as const;
export const deadLetterStates = ['open', 'requeued', 'discarded'] as const;
export const riskLevels = ['low', 'medium', 'high', 'critical'] as const;
export const switchModes = ['run', 'drain', 'halt'] as const;
/** What a key may do: everything; beat; send events; read. */
export const keyScopes = ['operator', 'worker', 'ingest', 'viewer'] as const;
export const radarStages = ['watching', 'validating', 'building', 'shipped', 'dropped'] as const;
/** What a list of signals may ask for: one stage, or all that are neither shipped nor dropped. */
export const radarViews = [...radarStages, 'open'] as const;
/** By score now, by latest mention, by first mention, by number of mentions; the largest first. */
export const radarSorts = ['score', 'recent', 'new', 'mentions'] as const;
/** Of a model provider, as one worker sees it; `open` and `half_open` are its breaker's. */
export const llmStates = ['closed', 'open', 'half_open', 'limited', 'refused'] as const;
export const alertLevels = ['ok', 'warning', 'critical'] as const;
/** What the policy `alerts` may name; `ops_alert_rules()` has their thresholds, and a test compares the two. */
export const alertNames = [
  'heartbeat_failures',
  'heartbeat_age',
  'idle_worker',
  'event_to_proposal',
  'mission_success',
  'dead_letters_per_hour',
  'dead_letters_per_day',
  'open_events',
  'queued_steps',
  'oldest_proposal',
  'proposals_per_hour',
  'step_duration',
  'llm_latency',
  'llm_errors',
  'llm_cost',
  'database_connections',
  'webhook_failures',
  'key_age',
  'backup_age',
] as const;
export const policyKeys = [
  'reaction_matrix',
  'auto_approve',
  'proposal_caps',
  'worker_policy',
  'agent_roles',
  'budgets',
  'approvals',
  'schedules',
  'alerts',
  'retention',
  'loop_limits',
  'switches',
] as const;
export const builtinExecutors = [
  'noop',
  'openclaw',
  'wreckit',
  'radar',
  'minion',
  'agent',
  'http',
  'notify',
  'vote',
] as const;

export type ProposalStatus = (typeof proposalStatuses)[number];
export type MissionStatus = (typeof missionStatuses)[number];
export type StepStatus = (typeof stepStatuses)[number];
export type FailureOutcome = (typeof failureOutcomes)[number];
export type RiskLevel = (typeof riskLevels)[number];
export type SwitchMode = (typeof switchModes)[number];
export type KeyScope = (typeof keyScopes)[number];
export type PolicyKey = (typeof policyKeys)[number];
export type AlertLevel = (typeof alertLevels)[number];

/** Channels a `LISTEN` may hear. A notification is a hint: whoever hears it looks, nobody relies on it. */
export const wakeChannels = { steps: 'ops_steps', events: 'ops_events' } as const;

/** The schema version this code was written for; the database answers its own with `ops_schema_version()`. */
export const schemaVersion = '0022';
