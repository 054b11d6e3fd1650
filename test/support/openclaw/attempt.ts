/** One attempt at an openclaw step as the worker makes it, outside of a test runner. */
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import type { ExecutorDatabase } from '../../../local/executors/contract.js';
import { openclaw } from '../../../local/executors/openclaw/openclaw.js';
import { Attempt, type Ending } from '../../../local/worker/attempt.js';
import { afterReturn, afterThrow, type Outcome, parseParams } from '../../../local/worker/outcome.js';
import { withoutSecrets } from '../../../local/worker/redact.js';
import { Scope } from '../../../local/worker/scope.js';

export type World = {
  policy: object;
  variables: Record<string, string>;
  workspace: string;
};

export type Tried = { outcome: Outcome; meta: Record<string, unknown> | undefined };

/** `until` resolves when the attempt is to be ended, with the reason for it. */
export async function tryStep(params: object, world: World, until?: Promise<Ending>): Promise<Tried> {
  const step = {
    ...{ id: randomUUID(), mission_id: randomUUID(), key: 'one', kind: 'openclaw', executor: 'openclaw' },
    ...{
      params: params as Record<string, never>,
      lease_epoch: 1,
      lease_expires_at: '2026-01-01T00:00:00+00:00',
    },
    ...{ attempt: 1, timeout_seconds: null, role: null, traceparent: null, dry_run: false },
    ...{ priority: 0, ready_at: '2026-01-01T00:00:00+00:00' },
  };
  const attempt = new Attempt(step, openclaw, 0, Number.POSITIVE_INFINITY);
  const scope = new Scope(attempt, parseParams(openclaw, params), {
    log: pino({ level: 'silent' }),
    db: {} as ExecutorDatabase,
    secrets: (name) => world.variables[name],
    policies: { worker_policy: { ...world.policy }, agent_roles: {} },
    workspace: world.workspace,
  });
  until?.then(
    (ending) => attempt.end(ending, 0),
    () => {},
  );
  const outcome = await Promise.resolve(openclaw.run(scope)).then(
    (value) => afterReturn(openclaw, value, scope.events, attempt.ending),
    (error: unknown) => afterThrow(openclaw, error, attempt.ending),
  );
  return {
    outcome: outcome.kind === 'none' ? outcome : withoutSecrets(outcome, scope.secretsRead),
    meta: scope.meta,
  };
}
