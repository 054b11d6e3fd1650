/** One attempt of an executor as the worker makes it, without a worker: for the contract's checks and for tests. */
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { Attempt, type Ending } from '../../worker/attempt.js';
import { afterReturn, afterThrow, type Outcome, parseParams } from '../../worker/outcome.js';
import { withoutSecrets } from '../../worker/redact.js';
import { Scope } from '../../worker/scope.js';
import type { Executor, ExecutorDatabase, Policies } from '../contract.js';

export type Surroundings = {
  db?: Partial<ExecutorDatabase>;
  policies?: Policies;
  secrets?: Record<string, string>;
  workspace?: string;
  role?: string;
  attempt?: number;
  stepId?: string;
};

export type StepRun = {
  outcome: Promise<Outcome>;
  scope: Scope;
  /** Aborts the attempt's signal, as the worker does. */
  end(reason: Ending): void;
};

/** Starts one attempt; the outcome is decided by the worker's own code. */
export function startStep(executor: Executor, params: unknown, around: Surroundings = {}): StepRun {
  const attempt = new Attempt(stepOf(executor, params, around), executor, 0, Number.POSITIVE_INFINITY);
  const scope = new Scope(attempt, params, surroundings(around));
  return { outcome: runOnce(attempt, scope), scope, end: (reason) => void attempt.end(reason, 0) };
}

/** One whole attempt. */
export const runStep = (executor: Executor, params: unknown, around: Surroundings = {}): Promise<Outcome> =>
  startStep(executor, params, around).outcome;

async function runOnce(attempt: Attempt, scope: Scope): Promise<Outcome> {
  const { executor } = attempt;
  try {
    Object.defineProperty(scope, 'params', { value: parseParams(executor, attempt.step.params) });
    const value = await executor.run(scope);
    return shown(afterReturn(executor, value, scope.events, attempt.ending), scope);
  } catch (error) {
    return shown(afterThrow(executor, error, attempt.ending), scope);
  }
}

const shown = (outcome: Outcome, scope: Scope): Outcome =>
  outcome.kind === 'none' ? outcome : withoutSecrets(outcome, scope.secretsRead);

function stepOf(
  executor: Executor,
  params: unknown,
  { role, attempt = 1, stepId = randomUUID() }: Surroundings,
) {
  return {
    id: stepId,
    mission_id: randomUUID(),
    key: 'step_1',
    kind: executor.name,
    executor: executor.name,
    params: params as Record<string, never>,
    lease_epoch: attempt,
    lease_expires_at: '2026-01-01T00:00:00+00:00',
    attempt,
    timeout_seconds: null,
    role: role ?? null,
    traceparent: null,
    dry_run: false,
    priority: 0,
    ready_at: '2026-01-01T00:00:00+00:00',
  };
}

const databaseOf = (given: Partial<ExecutorDatabase>) =>
  new Proxy(given as ExecutorDatabase, {
    get: (calls, call: keyof ExecutorDatabase) =>
      calls[call] ??
      (() =>
        Promise.reject(
          new Error(`there is no database here (${call}); give the example one, or a stand-in`),
        )),
  });

function surroundings({ db, policies, secrets = {}, workspace }: Surroundings) {
  return {
    log: pino({ level: 'silent' }),
    db: databaseOf(db ?? {}),
    secrets: (name: string) => secrets[name],
    policies: policies ?? { worker_policy: {}, agent_roles: {} },
    workspace: workspace ?? process.cwd(),
  };
}
