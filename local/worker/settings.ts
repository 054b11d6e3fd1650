/** What the worker goes by: step over policy over option over default. */
import { z } from 'zod';
import type { Policies } from '../executors/contract.js';

/** Defaults of SPEC 6 and of the environment variables behind the options. */
export const defaults = {
  concurrency: 100,
  leaseMinutes: 1,
  timeoutSeconds: 600,
  shutdownGraceSeconds: 20,
} as const;

/** How long an executor may ignore its signal before its slot is given to another step. */
export const signalGraceMs = 10_000;

const positive = z.number().positive().optional().catch(undefined);
// The engine has validated the policy; what is missing or odd here falls back, it never stops a worker.
const WorkerPolicy = z.object({
  lease_minutes: positive,
  timeout_seconds: positive,
  executors: z.record(z.string(), z.object({ timeout_seconds: positive }).catch({})).catch({}),
  workspace_root: z.string().min(1).optional().catch(undefined),
});

export type Settings = {
  readonly policies: Policies;
  readonly leaseMs: number;
  readonly workspace: string;
  /** Milliseconds a step may run. */
  timeoutMs(step: { executor: string; timeout_seconds: number | null }): number;
};

export function resolveSettings(
  policies: Policies,
  own: { leaseMinutes: number; workspace: string },
): Settings {
  const { executors, ...policy } = WorkerPolicy.parse({ executors: {}, ...policies.worker_policy });
  const general = policy.timeout_seconds ?? defaults.timeoutSeconds;
  return {
    policies,
    leaseMs: (policy.lease_minutes ?? own.leaseMinutes) * 60_000,
    workspace: policy.workspace_root ?? own.workspace,
    timeoutMs: ({ executor, timeout_seconds }) =>
      (timeout_seconds ?? executors[executor]?.timeout_seconds ?? general) * 1_000,
  };
}
