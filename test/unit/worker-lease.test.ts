import { describe, expect, test } from 'vitest';
import type { Attempt } from '../../local/worker/attempt.js';
import { LeaseKeeper, marginMs, renewEveryMs, trustedUntil } from '../../local/worker/lease.js';
import { OpsError } from '../../supabase/client/errors.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { attempt, deferred, manualClock, quietOutage, recordingLog } from './worker-kit.js';

type Renew = OpsPort['renewLeases'];
type Answers = Awaited<ReturnType<Renew>>;
const leaseMs = 60_000;

function keeperWith(renewLeases: Renew) {
  const clock = manualClock(0);
  const { log, events } = recordingLog();
  let trustRegained = 0;
  const keeper = new LeaseKeeper({
    port: { renewLeases },
    clock,
    log,
    worker: 'w',
    leaseMs: () => leaseMs,
    outage: quietOutage(),
    onLost: () => {},
    onTrust: () => trustRegained++,
  });
  const hold = (step = {}): Attempt => {
    const held = attempt(clock, { step, trustedUntil: trustedUntil(clock.now(), leaseMs) });
    keeper.hold(held);
    return held;
  };
  return { clock, keeper, hold, events, trustRegained: () => trustRegained };
}

const answer = (over: Partial<Answers[number]> = {}) => ({
  held: true,
  cancel_requested: false,
  halted: false,
  ...over,
});
const allHeld: Renew = async ({ leases }) => leases.map(({ step_id }) => ({ step_id, ...answer() }));
const away: Renew = async () => {
  throw new OpsError('OPS_001', 'database unreachable');
};

describe('lease arithmetic', () => {
  test('trust ends a margin before the lease, counted from when the request was sent', () => {
    expect(marginMs(60_000)).toBe(6_000);
    expect(trustedUntil(1_000, 60_000)).toBe(55_000);
  });

  test('renewal comes at a third of the lease, and at least every 20 s', () => {
    expect(renewEveryMs(6_000)).toBe(2_000);
    expect(renewEveryMs(3_600_000)).toBe(20_000);
  });
});

describe('renewal', () => {
  test('renews everything in one call and moves trust from when the call was sent', async () => {
    const calls: number[] = [];
    const gate = deferred();
    const { clock, keeper, hold } = keeperWith(async (args) => {
      calls.push(args.leases.length);
      await gate.promise;
      return allHeld(args);
    });
    const [first, second] = [hold(), hold()];
    await clock.advance(20_000);
    const renewed = keeper.renew();
    await clock.advance(3_000);
    gate.resolve();
    expect(await renewed).toBe(20_000);
    expect(calls).toEqual([2]);
    expect([first.trustedUntil, second.trustedUntil]).toEqual([74_000, 74_000]);
  });

  test('a lease the database no longer knows aborts the attempt as lost', async () => {
    const { keeper, hold, events } = keeperWith(async ({ leases }) =>
      leases.map(({ step_id }) => ({ step_id, ...answer({ held: false }) })),
    );
    const held = hold();
    const { signal } = held;
    await keeper.renew();
    expect(signal.aborted).toBe(true);
    expect(signal.reason).toMatchObject({ code: 'OPS_006', detail: { ending: 'lost' } });
    expect(keeper.held.size).toBe(0);
    expect(events()).toContain('lease.lost');
  });

  test.each([
    [{ cancel_requested: true }, 'cancelled'],
    [{ halted: true }, 'halted'],
  ])('an answer of %o aborts the attempt as %s and keeps the lease', async (said, ending) => {
    const { keeper, hold } = keeperWith(async ({ leases }) =>
      leases.map(({ step_id }) => ({ step_id, ...answer(said) })),
    );
    const held = hold();
    await keeper.renew();
    expect([held.ending, held.signal.aborted, keeper.held.size]).toEqual([ending, true, 1]);
  });

  test('an attempt that ended while the call was under way is left alone', async () => {
    const gate = deferred();
    const { keeper, hold } = keeperWith(async ({ leases }) => {
      await gate.promise;
      return leases.map(({ step_id }) => ({ step_id, ...answer({ held: false }) }));
    });
    const [settled, dropped] = [hold(), hold()];
    const renewed = keeper.renew();
    settled.settled = true;
    keeper.drop(dropped);
    gate.resolve();
    await renewed;
    expect([settled.ending, dropped.ending]).toEqual([undefined, undefined]);
  });

  test('a step missing from the answer is neither renewed nor lost', async () => {
    const { keeper, hold } = keeperWith(async () => []);
    const held = hold();
    await keeper.renew();
    expect([held.ending, held.trustedUntil]).toEqual([undefined, 54_000]);
  });

  test('is sent also when nothing is held, as a sign of life', async () => {
    let calls = 0;
    const { keeper } = keeperWith(async () => {
      calls++;
      return [];
    });
    await keeper.renew();
    expect(calls).toBe(1);
  });
});

describe('trust', () => {
  test('ends by the monotonic clock when the database is away, and claims stop', async () => {
    const { clock, keeper, hold } = keeperWith(away);
    const held = hold();
    await clock.advance(53_999);
    keeper.sweep();
    expect(held.ending).toBeUndefined();
    await clock.advance(1);
    keeper.sweep();
    expect([held.ending, held.signal.aborted, keeper.trusting]).toEqual(['lost', true, false]);
  });

  test('is gone after two failed renewals, which are repeated sooner than usual, and back after one that works', async () => {
    let renew: Renew = away;
    const { keeper, hold, trustRegained } = keeperWith((args) => renew(args));
    hold();
    expect(await keeper.renew()).toBeLessThanOrEqual(5_000);
    expect(keeper.trusting).toBe(true);
    await keeper.renew();
    expect(keeper.trusting).toBe(false);
    renew = allHeld;
    await keeper.renew();
    expect([keeper.trusting, trustRegained()]).toEqual([true, 1]);
  });

  test('an outcome that waits to be written is not aborted when its trust ends', async () => {
    const { clock, keeper, hold, events } = keeperWith(away);
    hold().settled = true;
    await clock.advance(60_000);
    keeper.sweep();
    expect([keeper.trusting, events()]).toEqual([true, []]);
  });

  test('a step claimed again takes the lease from the attempt that still ran', () => {
    const { keeper, hold } = keeperWith(allHeld);
    const old = hold();
    const fresh = hold({ id: old.step.id, lease_epoch: 2 });
    expect([old.ending, keeper.held.get(old.step.id)]).toEqual(['lost', fresh]);
    keeper.drop(old);
    expect(keeper.held.get(old.step.id)).toBe(fresh);
  });
});
