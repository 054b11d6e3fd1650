/** Time passes, workers die, anybody recovers what they held. */
import fc from 'fast-check';
import { action, demand, nothing } from '../action.js';
import { busyWorker, remember, runningTimeoutMs } from '../model.js';
import { losesWorker, maxStepBackMs, minuteMs, move, recoverExpired, running } from '../recovery.js';
import { ms } from '../rows.js';
import { verdictsFollowed } from '../verdict.js';
import { claimFirst } from './workers.js';

const advance = action(
  6,
  fc.constantFrom(
    1_000,
    20_000,
    61_000,
    61_000,
    5 * minuteMs,
    16 * minuteMs,
    61 * minuteMs,
    24 * 60 * minuteMs,
  ),
  async (world, model, by) => {
    await move(world, model, by);
    return nothing;
  },
);

const stepBack = action(1, fc.constantFrom(500, 2_000), async (world, model, by) => {
  if (world.now - by < model.latest - maxStepBackMs) return nothing;
  await world.advance(-by);
  return nothing;
});

const recover = action(4, fc.constant({}), recoverExpired);

/** A worker is killed or frozen, and after the lease somebody else may notice. */
const crash = action(
  8,
  fc.record({ busy: fc.nat(2), noticed: fc.constantFrom(true, true, false), frozen: fc.boolean() }),
  async (world, model, { busy, noticed, frozen }) => {
    const worker = busyWorker(model, busy);
    if (remember(model, worker).length === 0) return claimFirst(world, model);
    return losesWorker(world, model, worker, { noticed, frozen });
  },
);

const stale = action(
  2,
  fc.record({ minutes: fc.constantFrom(null, 0, 5) }),
  async ({ port, now }, { last }, args) => {
    const minutes = args.minutes ?? last.policies.worker_policy.stale_minutes ?? 15;
    const endings = running(last).flatMap((step) => {
      const leftMs = ms(step.lease_expires_at) - now;
      if (leftMs < -minutes * minuteMs) return [{ step: step.id, outcome: 'crashed' }];
      const late = leftMs > 0 && ms(step.reserved_at) + runningTimeoutMs(last, step) < now;
      return late ? [{ step: step.id, outcome: 'timed_out' }] : [];
    });
    const { recovered } = await port.recoverStaleSteps(
      args.minutes === null ? {} : { minutes: args.minutes },
    );
    demand(recovered === endings.length, `${recovered} stale steps were recovered of ${endings.length}`);
    return {
      quiet: endings.length === 0,
      recovers: true,
      check: (after) => verdictsFollowed(last, after, endings, now),
    };
  },
);

export const timeActions = { advance, stepBack, recover, crash, staleSteps: stale };
