/** How it goes: counts, health, alerts, metrics, and what has changed since. */
import { z } from 'zod';
import { arg, call, rows, value } from '../call.js';
import { count, document, timestamp } from '../schemas/values.js';
import * as terms from '../terms.js';

/** Counts for people: each member maps a status to a number. */
export const Status = z.object({
  events: z.record(z.string(), count),
  reactions: z.record(z.string(), count),
  proposals: z.record(z.string(), count),
  missions: z.record(z.string(), count),
  steps: z.record(z.string(), count),
  /** Finished steps of dry runs: not among `steps`, since nothing was done. */
  dry_runs: z.record(z.string(), count),
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
export type Status = z.infer<typeof Status>;

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
export type Health = z.infer<typeof Health>;

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
export type Alert = z.infer<typeof Alert>;

export const Metric = z.object({
  name: z.string(),
  type: z.enum(['counter', 'gauge']),
  help: z.string(),
  labels: z.record(z.string(), z.string()),
  value: z.number().nullable(),
});
export type Metric = z.infer<typeof Metric>;

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

export const monitoringCalls = {
  status: call('ops_status', {}, value(Status)),
  health: call('ops_health', {}, value(Health)),
  alerts: call('ops_alerts', {}, rows(Alert)),
  metrics: call('ops_metrics', {}, rows(Metric)),
  listChanges: call('ops_list_changes', { since: arg.timestamp, limit: arg.int.orDefault }, rows(Change)),
};
