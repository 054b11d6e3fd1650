/**
 * The thresholds an alert has until the policy `alerts` writes others, and the order they stand in. The database
 * refuses thresholds the wrong way round (ops_alert_problems); this says the same to whoever reads a policy before it
 * is written. The table is that of `ops_alert_rules()`, and a test compares the two.
 */
import type { alertNames } from '../terms.js';

export type AlertName = (typeof alertNames)[number];
export type Thresholds = { warning?: number | undefined; critical?: number | undefined };
type Default = { below?: true; warning: number; critical: number | null };

export const alertDefaults: Record<AlertName, Default> = {
  heartbeat_failures: { warning: 3, critical: 5 },
  heartbeat_age: { warning: 3, critical: 12 },
  idle_worker: { warning: 10, critical: 30 },
  event_to_proposal: { warning: 300, critical: 600 },
  mission_success: { below: true, warning: 95, critical: 80 },
  dead_letters_per_hour: { warning: 5, critical: 20 },
  dead_letters_per_day: { warning: 10, critical: null },
  open_events: { warning: 100, critical: 1000 },
  queued_steps: { warning: 50, critical: 500 },
  oldest_proposal: { warning: 24, critical: 72 },
  proposals_per_hour: { warning: 100, critical: null },
  step_duration: { warning: 600, critical: null },
  llm_latency: { warning: 5, critical: 10 },
  llm_errors: { warning: 2, critical: 5 },
  llm_cost: { warning: 10, critical: 50 },
  database_connections: { warning: 80, critical: 90 },
  webhook_failures: { warning: 5, critical: 20 },
  key_age: { warning: 83, critical: 90 },
  backup_age: { warning: 2, critical: 7 },
};

/** Whether a warning comes no later than the critical level, where what is not written is the default. */
export function inOrder(name: AlertName, own: Thresholds): boolean {
  const { below, ...standard } = alertDefaults[name];
  const warning = own.warning ?? standard.warning;
  const critical = own.critical ?? standard.critical;
  if (critical === null || (own.warning ?? own.critical) === undefined) return true;
  return below ? critical <= warning : critical >= warning;
}
