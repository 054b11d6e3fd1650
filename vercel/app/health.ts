/** Liveness says that this process answers; readiness that it can do its work. Neither tells a stranger any number. */
import { z } from 'zod';
import { fromDatabase } from '../../supabase/client/errors.js';
import { schemaVersion } from '../../supabase/client/terms.js';
import type { AppDeps } from './deps.js';
import { answers, endpoint } from './endpoint.js';
import { environmentName } from './env.js';
import { retryAfterSeconds, traceless } from './problem.js';
import { version } from './version.js';

/** A load balancer gives up after a few seconds; an answer that comes later is not readiness. */
const readyDeadlineMs = 3_000;

const identityShape = { timestamp: z.string(), environment: z.string(), version: z.string() };
const Alive = z.object({ status: z.literal('ok'), ...identityShape });
const Readiness = z.object({
  status: z.enum(['ready', 'not_ready']),
  ...identityShape,
  /** `ok`, or what is wrong. */
  checks: z.object({ database: z.string(), schema: z.string(), loop: z.string(), invariants: z.string() }),
});

/** Touches no database: a process that is alive says so even when nothing else works. */
export const showHealth = endpoint(
  { summary: 'Whether this process answers', answers: { 200: answers('It does.', Alive) } },
  (c, _, { env, now }) => c.json({ status: 'ok', ...identity(env, now()) }),
);

/** Ready: the database answers, has this code's schema, breaks none of the quick invariants, and is not unhealthy. */
export const showReadiness = endpoint(
  {
    summary: 'Whether this process can do its work',
    answers: { 200: answers('It can.', Readiness), 503: answers('It cannot, and why.', Readiness) },
  },
  async (c, _, deps) => {
    const checks = await readinessChecks(deps);
    const ready = Object.values(checks).every((check) => check === 'ok' || check === 'degraded');
    const body = { status: ready ? 'ready' : 'not_ready', ...identity(deps.env, deps.now()), checks };
    return ready ? c.json(body) : c.json(body, 503, { 'Retry-After': String(retryAfterSeconds) });
  },
);

const identity = (env: AppDeps['env'], now: Date) => ({
  timestamp: now.toISOString(),
  environment: environmentName(env),
  version,
});

type Checks = z.infer<typeof Readiness>['checks'];

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
    log.warn({ event: 'http.not_ready', error: traceless(error) });
    const schemaFault = error.code === 'OPS_013';
    return {
      database: schemaFault ? 'ok' : 'unreachable',
      schema: schemaFault ? 'not the expected one' : 'unknown',
      loop: 'unknown',
      invariants: 'unknown',
    };
  }
}
