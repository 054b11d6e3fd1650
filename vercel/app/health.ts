/** Liveness says that this process answers; readiness that it can do its work. Neither tells a stranger any number. */
import { fromDatabase } from '../../supabase/client/errors.js';
import { schemaVersion } from '../../supabase/client/terms.js';
import type { AppDeps, Handler } from './deps.js';
import { environmentName } from './env.js';
import { retryAfterSeconds } from './problem.js';
import { version } from './version.js';

/** A load balancer gives up after a few seconds; an answer that comes later is not readiness. */
const readyDeadlineMs = 3_000;

/** Touches no database: a process that is alive says so even when nothing else works. */
export function showHealth({ env, now }: AppDeps): Handler {
  return (c) => c.json({ status: 'ok', ...identity(env, now()) });
}

/**
 * 200 when the database answers, has this code's schema, breaks none of the invariants that are quick to look at, and
 * is not unhealthy; 503 otherwise, with what failed.
 */
export function showReadiness(deps: AppDeps): Handler {
  return async function showReadiness(c) {
    const checks = await readinessChecks(deps);
    const ready = Object.values(checks).every((check) => check === 'ok' || check === 'degraded');
    const body = { status: ready ? 'ready' : 'not_ready', ...identity(deps.env, deps.now()), checks };
    return ready ? c.json(body) : c.json(body, 503, { 'Retry-After': String(retryAfterSeconds) });
  };
}

const identity = (env: AppDeps['env'], now: Date) => ({
  timestamp: now.toISOString(),
  environment: environmentName(env),
  version,
});

type Checks = { database: string; schema: string; loop: string; invariants: string };

async function readinessChecks({ port, log }: AppDeps): Promise<Checks> {
  try {
    const health = await port.health({}, { deadlineMs: readyDeadlineMs });
    return {
      database: 'ok',
      schema:
        health.schema_version === schemaVersion
          ? 'ok'
          : `is ${health.schema_version}, this code needs ${schemaVersion}`,
      loop: health.status === 'healthy' ? 'ok' : health.status,
      invariants: health.violations.length === 0 ? 'ok' : health.violations.join(', '),
    };
  } catch (thrown) {
    const error = fromDatabase(thrown);
    log.warn({ event: 'http.not_ready', code: error.code, err: error });
    const schemaFault = error.code === 'OPS_013';
    return {
      database: schemaFault ? 'ok' : 'unreachable',
      schema: schemaFault ? 'not the expected one' : 'unknown',
      loop: 'unknown',
      invariants: 'unknown',
    };
  }
}
