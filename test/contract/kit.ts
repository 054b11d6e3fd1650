/**
 * What every executor must keep to, built in or brought along. `checkExecutor(executor, examples)` declares the
 * tests; a third party runs it in a suite of its own. `runStep` is one attempt as the worker makes it.
 */
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import {
  type Executor,
  type ExecutorDatabase,
  type Policies,
  toRegistration,
} from '../../local/executors/contract.js';
import { maxJsonChars } from '../../local/executors/json.js';
import { Attempt, type Ending } from '../../local/worker/attempt.js';
import { afterReturn, afterThrow, type Outcome, parseParams } from '../../local/worker/outcome.js';
import { withoutSecrets } from '../../local/worker/redact.js';
import { Scope } from '../../local/worker/scope.js';
import { ExecutorRegistration, StepEvent } from '../../supabase/client/schemas/inputs.js';

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
  };
}

const databaseOf = (given: Partial<ExecutorDatabase>) =>
  new Proxy(given as ExecutorDatabase, {
    get: (calls, call: keyof ExecutorDatabase) =>
      calls[call] ?? (() => Promise.reject(new Error(`this test gave the executor no database (${call})`))),
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

export type Examples = {
  /** Parameters that work here and now, with what has to be around for that. */
  good: { params: unknown; around?: Surroundings }[];
  /** Parameters that must be refused before anything happens. */
  bad: unknown[];
  /** Parameters of a run that lasts until its signal ends it; leave it out for executors that never take long. */
  long?: { params: unknown; around?: Surroundings };
};

/** How soon after its signal an executor must have ended. The worker gives up its slot after ten seconds. */
const abortDeadlineMs = 5_000;

export function checkExecutor(executor: Executor, { good, bad, long }: Examples): void {
  describe(`the executor ${executor.name} keeps the contract`, () => {
    test('its registration is one the engine takes, and is plain JSON', () => {
      const registration = toRegistration(executor);
      expect(ExecutorRegistration.parse(registration)).toEqual(registration);
      expect(JSON.parse(JSON.stringify(registration))).toEqual(registration);
      expect(registration.params_schema).not.toHaveProperty('$schema');
    });

    test.each(good)(
      'succeeds with $params, a result that can be stored, and valid events',
      async ({ params, around }) => {
        const outcome = await runStep(executor, params, around);
        expect(outcome).toMatchObject({ kind: 'complete' });
        if (outcome.kind !== 'complete') return;
        expect(JSON.parse(JSON.stringify(outcome.result))).toEqual(outcome.result);
        expect(JSON.stringify(outcome.result).length).toBeLessThanOrEqual(maxJsonChars);
        for (const event of outcome.events) expect(StepEvent.safeParse(event).success).toBe(true);
      },
    );

    test.each(bad.map((params) => ({ params })))('refuses $params for good', async ({ params }) => {
      expect(await runStep(executor, params)).toMatchObject({
        kind: 'fail',
        failure: { outcome: 'permanent', error_class: 'InvalidParams' },
      });
    });

    test.each(good)('never lets a secret through with $params', async ({ params, around }) => {
      const canary = `canary-${randomUUID()}`;
      const secrets = new Proxy(around?.secrets ?? {}, {
        get: (given, name: string) => given[name] && canary,
      });
      const outcome = await runStep(executor, params, { ...around, secrets });
      expect(JSON.stringify(outcome)).not.toContain(canary);
    });

    if (long !== undefined)
      test.each(['timed_out', 'cancelled', 'shutdown', 'lost'] as const)(
        'ends soon when it is %s',
        async (ending) => {
          const run = startStep(executor, long.params, long.around);
          await new Promise((resolve) => setImmediate(resolve));
          run.end(ending);
          expect(await within(abortDeadlineMs, run.outcome)).toMatchObject(expected(executor, ending));
        },
      );
  });
}

function expected({ traits }: Executor, ending: Ending): object {
  if (ending === 'lost') return { kind: 'none' };
  if (ending === 'timed_out' || ending === 'cancelled') return { kind: 'fail', failure: { outcome: ending } };
  return traits.idempotent ? { kind: 'release' } : { kind: 'fail' };
}

async function within<T>(deadlineMs: number, work: Promise<T>): Promise<T> {
  const late = AbortSignal.timeout(deadlineMs);
  return Promise.race([
    work,
    new Promise<never>((_, reject) => {
      late.addEventListener('abort', () =>
        reject(new Error(`it had not ended ${deadlineMs} ms after its signal`)),
      );
    }),
  ]);
}
