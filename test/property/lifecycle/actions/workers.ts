/** What workers do, also with leases that are no longer theirs. */
import fc from 'fast-check';
import type { FailureOutcome } from '../../../../supabase/client/terms.js';
import { action, demand, nothing } from '../action.js';
import {
  type Attempt,
  busyWorker,
  type Effect,
  executors,
  forget,
  isLive,
  type Lease,
  type Model,
  nth,
  remember,
  workers,
} from '../model.js';
import { losesWorker } from '../recovery.js';
import type { AttemptStatus } from '../rows.js';
import { ms } from '../rows.js';
import { runId } from '../snapshot.js';
import { verdictsFollowed } from '../verdict.js';
import type { World } from '../world.js';
import { checkClaim } from './claim.js';

const worker = fc.constantFrom(...workers);
/** The n-th of those that hold something. */
const busy = fc.nat(2);
const picks = fc.array(fc.nat(5), { minLength: 1, maxLength: 3 });

/** Leases that a worker believes it holds. A number too large counts round, so one may be picked twice. */
const pick = (model: Model, name: string, numbers: number[]): Lease[] =>
  numbers.flatMap((n) => nth(remember(model, name), n) ?? []);

const ref = ({ step, epoch }: Lease) => ({ step_id: step, lease_epoch: epoch });
const run = ({ step, epoch }: Lease) => runId(step, epoch);

const claim = action(
  12,
  fc.record({
    worker,
    executors: fc.oneof(
      fc.constant<string[]>([...executors]),
      fc.subarray<string>([...executors], { minLength: 1 }),
    ),
    limit: fc.integer({ min: 1, max: 5 }),
    leaseSeconds: fc.constantFrom(30, 60, 3600),
  }),
  async ({ port, now }, model, args) => {
    const before = model.last;
    const rows = await port.claimSteps(args);
    const rates = before.policies.worker_policy.executors ?? {};
    const claimed = rows.map(
      ({ id, lease_epoch: epoch, executor }): Attempt => ({
        ...{ step: id, epoch, executor, worker: args.worker, claimedAt: now, told: 'started' },
        series: before.steps.get(id)?.series ?? 0,
        rated: rates[executor]?.rate !== undefined,
      }),
    );
    for (const attempt of claimed) {
      demand(!model.attempts.has(run(attempt)), `attempt ${run(attempt)} was given out twice`);
      model.attempts.set(run(attempt), attempt);
    }
    model.memory.set(args.worker, [...remember(model, args.worker), ...claimed]);
    return { claimed, check: (after) => checkClaim(before, after, rows, args, now) };
  },
);

/** Whoever has nothing to write back looks for work: programs are denser so. */
export const claimFirst = (world: World, model: Model): Promise<Effect> =>
  claim.run(world, model, { worker: workers[0], executors: [...executors], limit: 3, leaseSeconds: 60 });

const killsItsWorker = ({ last }: Model, { step }: Lease): boolean =>
  last.steps.get(step)?.params.crash === true;

const renew = action(4, fc.record({ busy, picks }), async (world, model, args) => {
  const { port, now } = world;
  const name = busyWorker(model, args.busy);
  const leases = pick(model, name, args.picks);
  if (leases.length === 0) return claimFirst(world, model);
  const before = model.last;
  const good = leases.filter(
    (l) => isLive(before, l) && ms(before.steps.get(l.step)?.lease_expires_at ?? null) > now,
  );
  const rows = await port.renewLeases({ worker: name, leases: leases.map(ref) });
  const isGood = new Set(good.map(({ step }) => step));
  for (const row of rows) {
    const step = before.steps.get(row.step_id);
    if (row.held) demand(isGood.has(row.step_id), `a lost lease of ${row.step_id} was renewed`);
    const asked = row.held && step?.cancel_requested_at != null;
    demand(row.cancel_requested === asked, `renewal of ${row.step_id} says cancel ${row.cancel_requested}`);
  }
  for (const { step } of good)
    demand(
      rows.some((r) => r.step_id === step && r.held),
      `${step} was not renewed`,
    );
  return {
    quiet: good.length === 0,
    *check(after) {
      for (const { step } of good)
        if (ms(after.steps.get(step)?.lease_expires_at ?? null) !== now + 60_000)
          yield `${step} was not renewed`;
    },
  };
});

const complete = action(
  12,
  fc.record({ busy, picks, value: fc.option(fc.nat(9)), says: fc.boolean(), keeps: fc.boolean() }),
  async (world, model, args) => {
    const { port } = world;
    const name = busyWorker(model, args.busy);
    const leases = pick(model, name, args.picks);
    if (leases.length === 0) return claimFirst(world, model);
    if (leases.some((lease) => killsItsWorker(model, lease)))
      return losesWorker(world, model, name, { noticed: true, frozen: false });
    const before = model.last;
    const live = leases.filter((lease) => isLive(before, lease));
    const result = args.value === null ? {} : { v: args.value };
    const events = args.says ? [{ type: 'demo:a', data: { n: args.value ?? 0 } }] : [];
    const results = leases.map((lease) => ({ ...ref(lease), result, events }));
    for (const row of await port.completeSteps({ worker: name, results })) {
      const lease = { step: row.step_id, epoch: row.lease_epoch };
      const due = isLive(before, lease) || isToldTwice(model, lease, ['succeeded']);
      demand(row.held === due, `completion of ${run(lease)} says held ${row.held}`);
    }
    const ended = tell(model, live, 'succeeded');
    if (!args.keeps) forget(model, name, leases);
    return {
      quiet: live.length === 0,
      ended,
      *check(after) {
        for (const { step } of live) {
          const row = after.steps.get(step);
          if (row?.status !== 'succeeded') yield `${step} was completed and is ${row?.status}`;
          if (JSON.stringify(row?.result) !== JSON.stringify(result)) yield `${step} has another's result`;
        }
      },
    };
  },
);

const outcomes: FailureOutcome[] = [
  'retryable',
  'permanent',
  'rate_limited',
  'timed_out',
  'cancelled',
  'unknown',
];
const toldAs = (outcome: FailureOutcome): AttemptStatus =>
  outcome === 'timed_out' || outcome === 'cancelled' || outcome === 'unknown' ? outcome : 'failed';
const failedAs: AttemptStatus[] = ['failed', 'timed_out', 'cancelled', 'unknown'];

const fail = action(
  14,
  fc.record({
    busy,
    picks,
    outcome: fc.oneof(fc.constant('retryable' as const), fc.constantFrom(...outcomes)),
    retryAfter: fc.constantFrom(null, 5, 100),
    keeps: fc.boolean(),
  }),
  async (world, model, args) => {
    const { port, now } = world;
    const name = busyWorker(model, args.busy);
    const leases = pick(model, name, args.picks);
    if (leases.length === 0) return claimFirst(world, model);
    if (leases.some((lease) => killsItsWorker(model, lease)))
      return losesWorker(world, model, name, { noticed: true, frozen: false });
    const before = model.last;
    const live = leases.filter((lease) => isLive(before, lease));
    const more = args.retryAfter === null ? {} : { retry_after_seconds: args.retryAfter };
    const failures = leases.map((l) => ({ ...ref(l), outcome: args.outcome, error: 'it broke', ...more }));
    for (const row of await port.failSteps({ worker: name, failures })) {
      const lease = { step: row.step_id, epoch: row.lease_epoch };
      const due = isLive(before, lease) || isToldTwice(model, lease, failedAs);
      demand(row.held === due, `failure of ${run(lease)} says held ${row.held}`);
    }
    const ended = tell(model, live, toldAs(args.outcome));
    // Being turned away is an attempt that did not succeed, and costs none.
    if (args.outcome === 'rate_limited')
      for (const lease of live) {
        const attempt = model.attempts.get(run(lease));
        if (attempt !== undefined) attempt.forgiven = true;
      }
    if (!args.keeps) forget(model, name, leases);
    const retryAfterMs = (args.retryAfter ?? 0) * 1000;
    const endings = live.map(({ step }) => ({ step, outcome: args.outcome, retryAfterMs }));
    return {
      quiet: live.length === 0,
      ended,
      // One that failed for good skips what comes after it; a batch is looked at one by one then.
      check: (after) => verdictsFollowed(before, after, endings, now),
    };
  },
);

const release = action(3, fc.record({ busy, picks }), async (world, model, args) => {
  const { port } = world;
  const name = busyWorker(model, args.busy);
  const leases = pick(model, name, args.picks);
  if (leases.length === 0) return claimFirst(world, model);
  const before = model.last;
  const live = leases.filter((lease) => isLive(before, lease));
  for (const row of await port.releaseSteps({ worker: name, leases: leases.map(ref) })) {
    const lease = { step: row.step_id, epoch: row.lease_epoch };
    demand(row.held === isLive(before, lease), `release of ${run(lease)} says held ${row.held}`);
  }
  forget(model, name, leases);
  return {
    quiet: live.length === 0,
    ended: tell(model, live, 'released'),
    *check(after) {
      for (const { step } of live) {
        const [old, row] = [before.steps.get(step), after.steps.get(step)];
        if (row?.failure_count !== old?.failure_count || row?.crash_count !== old?.crash_count)
          yield `release of ${step} counted an attempt`;
      }
    },
  };
});

/** A worker that was frozen wakes up, or one of the same name starts: it writes with a lease of long ago. */
const stale = action(
  8,
  fc.record({ nth: fc.nat(30), worker, how: fc.constantFrom('complete', 'fail', 'renew', 'release') }),
  async ({ port }, model, { nth: n, worker: name, how }) => {
    const lost = [...model.attempts.values()].filter((lease) => !isLive(model.last, lease));
    // Where another runs the step by now, a write without a fence would hit it.
    const contested = lost.filter(({ step }) => model.last.steps.get(step)?.status === 'running');
    const lease = nth(contested.length > 0 ? contested : lost, n);
    if (lease === undefined) return nothing;
    const rows = {
      complete: () => port.completeSteps({ worker: name, results: [{ ...ref(lease), result: { v: 99 } }] }),
      fail: () =>
        port.failSteps({ worker: name, failures: [{ ...ref(lease), outcome: 'permanent', error: 'stale' }] }),
      renew: () => port.renewLeases({ worker: name, leases: [ref(lease)] }),
      release: () => port.releaseSteps({ worker: name, leases: [ref(lease)] }),
    };
    const [row] = await rows[how as keyof typeof rows]();
    const again = how === 'complete' ? ['succeeded' as const] : how === 'fail' ? failedAs : [];
    demand(
      row?.held === isToldTwice(model, lease, again),
      `stale ${how} of ${run(lease)} says held ${row?.held}`,
    );
    return nothing;
  },
);

/** Said again by the one who said it, and nothing has happened since: the answer may be yes. */
function isToldTwice(model: Model, lease: Lease, told: AttemptStatus[]): boolean {
  const attempt = model.attempts.get(run(lease));
  return (
    attempt !== undefined &&
    told.includes(attempt.told) &&
    // Of a failure only the attempt's row tells.
    (attempt.archived !== true || attempt.told === 'succeeded') &&
    model.last.steps.get(lease.step)?.lease_epoch === lease.epoch
  );
}

function tell(model: Model, leases: Lease[], told: AttemptStatus): Map<string, AttemptStatus> {
  for (const lease of leases) {
    const attempt = model.attempts.get(run(lease));
    if (attempt !== undefined) attempt.told = told;
  }
  return new Map(leases.map((lease) => [run(lease), told]));
}

export const workerActions = { claim, renew, complete, fail, release, stale };
