/** Operators edit policies and throw switches, at any time. */
import fc from 'fast-check';
import { action, nothing } from '../action.js';
import { defaults, executors, nth } from '../model.js';
import { openPolicies } from '../world.js';
import { matrix, patterns } from './matrix.js';

/** Members that are there or not. */
const some = <T extends Record<string, unknown>>(members: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(members, { requiredKeys: [] }) as fc.Arbitrary<Partial<T>>;
const rarely = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 2, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
const small = fc.integer({ min: 0, max: 4 });

/** JSON has no undefined: what is kept of a program must be what was run. */
const asJson = <T>(arbitrary: fc.Arbitrary<T>) => arbitrary.map((value) => JSON.parse(JSON.stringify(value)));

const caps = action(
  2,
  asJson(
    some({
      daily_limit: fc.integer({ min: 1, max: 8 }),
      hourly_limit: fc.integer({ min: 1, max: 5 }),
      per_source: small,
      per_pattern: small,
      max_pending: small,
      on_exceed: fc.constantFrom('wait', 'reject'),
    }),
  ),
  async ({ setPolicy }, _model, value) => {
    await setPolicy('proposal_caps', value);
    return {};
  },
);

const approval = action(
  1,
  asJson(
    fc.record({
      enabled: fc.constantFrom(true, true, false),
      allowed_step_kinds: fc.constantFrom(['noop', 'agent'], ['noop', 'agent', 'openclaw'], ['noop']),
      max_risk_level: fc.constantFrom('low', 'medium', 'critical'),
      daily_limit: rarely(fc.integer({ min: 0, max: 6 })),
    }),
  ),
  async ({ setPolicy }, _model, value) => {
    await setPolicy('auto_approve', value);
    return {};
  },
);

const bounds = some({
  max_running: fc.integer({ min: 0, max: 3 }),
  rate: fc.record({ count: fc.integer({ min: 0, max: 4 }), per_minutes: fc.constant(5) }),
  timeout_seconds: fc.constant(20),
});

const workerPolicy = action(
  2,
  asJson(
    fc.record({
      max_retries: rarely(fc.integer({ min: 1, max: 5 })),
      stale_minutes: rarely(fc.constant(5)),
      timeout_seconds: rarely(fc.constant(90)),
      backoff: rarely(
        fc.record({ base_seconds: fc.constantFrom(1, 30), cap_seconds: fc.constantFrom(10, 300) }),
      ),
      executors: rarely(some({ noop: bounds, agent: bounds })),
      blocked_executors: rarely(fc.subarray([...executors], { maxLength: 1 })),
      allowed_executors: rarely(fc.subarray([...executors], { minLength: 2 })),
      breaker: rarely(
        fc.record({ consecutive: fc.integer({ min: 2, max: 4 }), window_minutes: fc.constant(60) }),
      ),
    }),
  ),
  async ({ setPolicy }, model, value) => {
    model.most.retries = Math.max(model.most.retries, value.max_retries ?? defaults.maxRetries);
    await setPolicy('worker_policy', value);
    return {};
  },
);

const reactionMatrix = action(
  4,
  fc.record({ patterns: fc.subarray(Object.keys(patterns)) }),
  async ({ setPolicy }, _model, args) => {
    await setPolicy('reaction_matrix', matrix(args.patterns));
    return {};
  },
);

const loopLimits = action(
  1,
  asJson(some({ max_depth: small, max_fan_out: small, max_repeats: small })),
  async ({ setPolicy }, _model, value) => {
    // The defaults were in force before: what they let through stays.
    await setPolicy('loop_limits', value);
    return {};
  },
);

const approvals = action(
  1,
  fc.record({ expires_minutes: fc.constantFrom(1, 30), default_action: fc.constantFrom('expire', 'reject') }),
  async ({ setPolicy }, _model, value) => {
    await setPolicy('approvals', value);
    return {};
  },
);

const reopenPolicies = action(2, fc.constant({}), async ({ setPolicy, sql }) => {
  for (const key of ['auto_approve', 'proposal_caps', 'worker_policy'])
    await setPolicy(key, openPolicies[key] ?? {});
  await sql("delete from ops_policy where key in ('switches', 'loop_limits', 'approvals')");
  return {};
});

const scope = fc.oneof(
  fc.constantFrom('all', 'dispatch', 'heartbeat', 'reactions', 'auto_approve', 'pattern:plain', 'role:scout'),
  fc.constantFrom('executor:noop', 'executor:agent', 'executor:openclaw', 'mission'),
);

const pause = action(
  2,
  fc.record({ scope, nth: fc.nat(9), mode: fc.constantFrom('drain' as const, 'halt' as const) }),
  async ({ port }, model, { scope, nth: n, mode }) => {
    const mission = nth(model.last.tables.missions, n);
    if (scope === 'mission' && mission === undefined) return nothing;
    await port.pause({ scope: scope === 'mission' ? `mission:${mission?.id}` : scope, mode });
    return {};
  },
);

const resume = action(4, fc.record({ nth: fc.nat(9) }), async ({ port }, model, { nth: n }) => {
  const scope = nth(Object.keys(model.last.policies.switches?.scopes ?? {}), n);
  if (scope === undefined) return nothing;
  await port.resume({ scope });
  return {};
});

export const policyActions = {
  caps,
  approval,
  workerPolicy,
  reactionMatrix,
  loopLimits,
  approvals,
  reopenPolicies,
  pause,
  resume,
};
