import { describe, expect, test } from 'vitest';
import { createRegistry } from '../../local/executors/registry.js';
import { Claimer, type Look } from '../../local/worker/claimer.js';
import { type ListenConnection, Listener, type ListenHandlers } from '../../local/worker/listener.js';
import { Marks } from '../../local/worker/marks.js';
import { Slots } from '../../local/worker/slots.js';
import { Wakeup } from '../../local/worker/wakeup.js';
import { OpsError } from '../../supabase/client/errors.js';
import type { ClaimMarks } from '../../supabase/client/schemas/inputs.js';
import {
  claimed,
  deferred,
  executor,
  manualClock,
  quietOutage,
  recordingLog,
  steadyRandom,
} from './worker-kit.js';

function wakeupWith({
  listening = true,
  writing = (): boolean => false,
  nextDue = (): string | null => null,
  aheadMs = 0,
} = {}) {
  const clock = manualClock(0);
  const flags: number[] = [];
  const wakeup = new Wakeup({
    port: {
      workerIdle: async () => {
        flags.push(clock.now());
        return { now: new Date(clock.wall() - aheadMs).toISOString(), next_due_at: nextDue() };
      },
    },
    clock,
    random: steadyRandom,
    worker: 'w',
    executors: ['noop'],
    outage: quietOutage(),
    isListening: () => listening,
    isWriting: writing,
    onIdle: () => {},
  });
  /** The times at which the worker looks, when no look finds anything. */
  const looks: number[] = [];
  let stopped = false;
  const run = async (look: () => Look = () => ({ kind: 'empty' })) => {
    while (!stopped) {
      looks.push(clock.now());
      await wakeup.after(look());
    }
  };
  const stop = () => {
    stopped = true;
    wakeup.ring();
  };
  return { clock, wakeup, flags, looks, run, stop };
}

describe('an idle worker', () => {
  test('raises its flag, looks at once and after 5, 20 and 80 ms, then polls', async () => {
    const { clock, flags, looks, run, stop } = wakeupWith();
    void run();
    await clock.advance(200);
    expect(flags).toEqual([0]);
    expect(looks).toEqual([0, 0, 5, 25, 105]);
    await clock.advance(9_000);
    expect(looks).toEqual([0, 0, 5, 25, 105, 8_855, 8_855]);
    expect(flags).toEqual([0, 8_855]);
    stop();
  });

  test('looks at once when notified, and raises its flag again', async () => {
    const { clock, wakeup, flags, looks, run, stop } = wakeupWith();
    void run();
    await clock.advance(1_000);
    wakeup.notify();
    await clock.advance(1);
    expect(looks.slice(5)).toEqual([1_000, 1_000]);
    expect(flags).toEqual([0, 1_000]);
    stop();
  });

  test('polls every two seconds at most when it cannot listen', async () => {
    const { clock, looks, run, stop } = wakeupWith({ listening: false });
    void run();
    await clock.advance(20_000);
    const gaps = looks.slice(1).map((at, i) => at - (looks[i] ?? 0));
    expect(Math.max(...gaps)).toBeLessThanOrEqual(2_000);
    stop();
  });

  test('asks little: less than one call a second while it listens', async () => {
    const { clock, flags, looks, run, stop } = wakeupWith();
    void run();
    await clock.advance(60_000);
    expect(flags.length + looks.length).toBeLessThan(30);
    stop();
  });

  test('is there when the next step is due, and does not spin when the clocks differ', async () => {
    const due = (at: number) => () => new Date(at).toISOString();
    const onTime = wakeupWith({ nextDue: due(3_000) });
    void onTime.run();
    await onTime.clock.advance(3_010);
    expect(onTime.looks.at(-1)).toBeGreaterThanOrEqual(3_000);
    expect(onTime.looks.filter((at) => at > 105 && at < 3_000)).toEqual([]);
    onTime.stop();
    const early = wakeupWith({ nextDue: due(-3_600_000) });
    void early.run();
    await early.clock.advance(60_000);
    expect(early.looks.length).toBeLessThan(60);
    early.stop();
  });

  test('is on time by the database, whatever its own clock says', async () => {
    const aheadMs = 3_600_000;
    const due = () => new Date(3_000 - aheadMs).toISOString();
    const { clock, looks, run, stop } = wakeupWith({ nextDue: due, aheadMs });
    void run();
    await clock.advance(3_010);
    expect(looks.at(-1)).toBeGreaterThanOrEqual(3_000);
    expect(looks.filter((at) => at > 105 && at < 3_000)).toEqual([]);
    stop();
  });

  test('waits for its own outcomes to be stored before it calls itself idle', async () => {
    let writing = true;
    const { clock, wakeup, flags, run, stop } = wakeupWith({ writing: () => writing });
    void run();
    await clock.advance(100);
    expect(flags).toEqual([]);
    writing = false;
    wakeup.ring();
    await clock.advance(1);
    expect(flags).toEqual([100]);
    stop();
  });
});

describe('a claim', () => {
  const drill = executor(() => null);
  const agent = executor(() => null, {
    name: 'agent',
    traits: { idempotent: true, risk: 'low', localLimit: 4 },
  });
  const registry = createRegistry([drill, agent]);
  function claimerWith(
    claimSteps: (args: {
      executors: string[];
      limit?: number | undefined;
      marks?: ClaimMarks | undefined;
    }) => Promise<ReturnType<typeof claimed>[]>,
    executors = [drill],
  ) {
    const clock = manualClock(0);
    const { log } = recordingLog();
    const got: number[] = [];
    const slots = new Slots(3, executors);
    const claimer = new Claimer({
      port: { claimSteps },
      clock,
      log,
      worker: 'w',
      slots,
      registry,
      outage: quietOutage(),
      leaseMs: () => 60_000,
      mayClaim: () => slots.free > 0,
      onClaimed: (attempts) => got.push(...attempts.map(({ trustedUntil }) => trustedUntil)),
    });
    return { clock, claimer, slots, got };
  }

  test('asks for as many as slots are free, and says whether it got them', async () => {
    const limits: unknown[] = [];
    let left = 4;
    const { claimer, slots } = claimerWith(async ({ limit = 0 }) => {
      limits.push(limit);
      const taken = Math.min(limit, left);
      left -= taken;
      return Array.from({ length: taken }, () => claimed());
    });
    expect(await claimer.tick()).toEqual({ kind: 'full' });
    slots.enter('drill', () => {});
    expect(await claimer.tick()).toEqual({ kind: 'some' });
    expect(await claimer.tick()).toEqual({ kind: 'empty' });
    expect(limits).toEqual([3, 2, 2]);
    slots.enter('drill', () => {});
    slots.enter('drill', () => {});
    expect(await claimer.tick()).toEqual({ kind: 'blocked' });
    expect(claimer.claimed).toBe(4);
  });

  test('asks for limited executors that had nothing again after 100 ms, while others keep it busy', async () => {
    const asked: string[] = [];
    const { clock, claimer } = claimerWith(
      async ({ executors }) => {
        asked.push(executors.join(' '));
        return executors.includes('drill') ? [claimed()] : [];
      },
      [drill, agent],
    );
    for (const waitMs of [0, 0, 0, 99, 1]) {
      await clock.advance(waitMs);
      await claimer.tick();
    }
    expect(asked).toEqual(['drill agent', 'drill', 'agent', 'drill', 'drill', 'drill', 'agent']);
  });

  test('that took long from the head of the queue goes on where it was, and looks at all again in time', async () => {
    const asked: (string | undefined)[] = [];
    const answers = ['09:00', '09:01', undefined, '08:00', '09:02'];
    const { clock, claimer } = claimerWith(async ({ marks }) => {
      asked.push(marks?.drill?.ready_at);
      if (marks === undefined) await clock.advance(100);
      const ready_at = answers[asked.length - 1];
      return ready_at === undefined ? [] : [claimed({ ready_at })];
    });
    await claimer.tick();
    await claimer.tick();
    // Nothing behind the mark: looked for from the head, in the same tick.
    await claimer.tick();
    await claimer.tick();
    await clock.advance(2_000);
    await claimer.tick();
    expect(asked).toEqual([undefined, '09:00', '09:01', undefined, '08:00', undefined]);
  });

  test('for other executors that was quick takes nothing from the marks of a slow one', () => {
    const marks = new Marks();
    const { priority, ready_at } = claimed({ executor: 'drill', ready_at: '09:00' });
    marks.looked(0, 100);
    marks.found([claimed({ executor: 'drill', ready_at: '09:00' })]);
    expect(marks.at(100, ['agent'])).toBeNull();
    marks.looked(100, 101);
    expect(marks.at(2_000, ['agent', 'drill'])).toEqual({ drill: { priority, ready_at } });
    expect(marks.at(2_100, ['drill'])).toBeNull();
  });

  test('that was quick has no marks', async () => {
    const asked: unknown[] = [];
    const { claimer } = claimerWith(async ({ marks }) => {
      asked.push(marks);
      return [claimed()];
    });
    await claimer.tick();
    await claimer.tick();
    expect(asked).toEqual([undefined, undefined]);
  });

  test('counts trust from before it was sent', async () => {
    const gate = deferred();
    const { clock, claimer, got } = claimerWith(async () => {
      await gate.promise;
      return [claimed()];
    });
    const look = claimer.tick();
    await clock.advance(5_000);
    gate.resolve();
    await look;
    expect(got).toEqual([54_000]);
  });

  test('that fails is a pause', async () => {
    const { claimer } = claimerWith(async () => {
      throw new OpsError('OPS_001', 'database unreachable');
    });
    expect(await claimer.tick()).toEqual({ kind: 'away', waitMs: 150 });
    expect(await claimer.tick()).toEqual({ kind: 'away', waitMs: 300 });
  });
});

describe('the listener', () => {
  function listenerWith() {
    const clock = manualClock(0);
    const { log, events } = recordingLog();
    const heard: string[] = [];
    const opened: ListenHandlers[] = [];
    let refuse = false;
    let probe: ListenConnection['probe'] = async () => {};
    const listener = new Listener({
      listen: async (handlers) => {
        if (refuse) throw new Error('refused');
        opened.push(handlers);
        return { probe: () => probe(), close: async () => {} };
      },
      clock,
      random: steadyRandom,
      log,
      onHeard: (channel) => heard.push(channel),
    });
    return {
      ...{ clock, listener, heard, opened, events },
      refuse: (value: boolean) => {
        refuse = value;
      },
      answerProbes: (by: ListenConnection['probe']) => {
        probe = by;
      },
    };
  }

  test('rings both channels when it connects: it may have missed something', async () => {
    const { listener, heard } = listenerWith();
    await listener.connect();
    expect([listener.live, heard]).toEqual([true, ['ops_steps', 'ops_events']]);
    await listener.stop();
    expect(listener.live).toBe(false);
  });

  test('connects again, with backoff, when its connection is lost', async () => {
    const { clock, listener, opened, refuse, events } = listenerWith();
    await listener.connect();
    refuse(true);
    opened[0]?.lost(new Error('gone'));
    expect(listener.live).toBe(false);
    await clock.advance(2_000);
    refuse(false);
    await clock.advance(5_000);
    expect([listener.live, opened.length]).toEqual([true, 2]);
    expect(events()).toContain('listen.lost');
    await listener.stop();
  });

  test('finds a connection that died in silence by its probe', async () => {
    const { clock, listener, opened, answerProbes } = listenerWith();
    await listener.connect();
    answerProbes(() => new Promise(() => {}));
    await clock.advance(20_000);
    expect(opened.length).toBe(2);
    await listener.stop();
  });

  test('stays closed once stopped', async () => {
    const { clock, listener, opened } = listenerWith();
    await listener.connect();
    await listener.stop();
    opened[0]?.lost(new Error('gone'));
    await clock.advance(60_000);
    expect(opened.length).toBe(1);
  });
});
