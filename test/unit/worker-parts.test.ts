import { EventEmitter } from 'node:events';
import { describe, expect, test } from 'vitest';
import { backoffMs } from '../../local/worker/backoff.js';
import { Bell } from '../../local/worker/bell.js';
import { resolveSettings } from '../../local/worker/settings.js';
import { bindSignals } from '../../local/worker/shutdown.js';
import { Slots } from '../../local/worker/slots.js';
import { Lifecycle, transitions, workerStates } from '../../local/worker/state.js';
import { dueWaitMs, idleWaitMs, pollMs } from '../../local/worker/wakeup.js';
import { executor, manualClock } from './worker-kit.js';

describe('states', () => {
  test('every state leads to stopped', () => {
    const reaches = (from: (typeof workerStates)[number]): boolean =>
      from === 'stopped' || transitions[from].some(reaches);
    expect(workerStates.filter((state) => !reaches(state))).toEqual([]);
  });

  test.each(workerStates.flatMap((from) => workerStates.map((to) => [from, to] as const)))(
    'from %s to %s',
    (from, to) => {
      const paths: Record<string, (typeof workerStates)[number][]> = {
        starting: [],
        running: ['running'],
        draining: ['running', 'draining'],
        stopping: ['running', 'stopping'],
        stopped: ['stopped'],
      };
      const life = new Lifecycle();
      for (const step of paths[from] ?? []) life.to(step);
      if (transitions[from].includes(to)) {
        life.to(to);
        expect(life.state).toBe(to);
      } else expect(() => life.to(to)).toThrow(`cannot go from ${from} to ${to}`);
    },
  );
});

const limited = (name: string, localLimit: number) =>
  executor(() => null, { name, traits: { idempotent: true, risk: 'low', localLimit } });
const open = (name: string) => executor(() => null, { name });

describe('slots', () => {
  test('a slot is taken at enter and free at leave', () => {
    const slots = new Slots(2, [open('a')]);
    let leave = () => {};
    slots.enter('a', (end) => {
      leave = end;
    });
    expect([slots.taken, slots.free]).toEqual([1, 1]);
    leave();
    expect([slots.taken, slots.free]).toEqual([0, 2]);
  });

  test('an executor with a local limit never runs more than that at once', async () => {
    const slots = new Slots(10, [limited('a', 2)]);
    const leaves: (() => void)[] = [];
    for (let i = 0; i < 3; i++) slots.enter('a', (leave) => leaves.push(leave));
    await manualClock().settle();
    expect([leaves.length, slots.freeOf('a'), slots.taken]).toEqual([2, -1, 3]);
    leaves[0]?.();
    await manualClock().settle();
    expect([leaves.length, slots.taken]).toEqual([3, 2]);
  });

  test('asks for limited executors apart, and for no more than all of them can take', () => {
    const slots = new Slots(100, [open('a'), open('b'), limited('c', 4), limited('d', 2)]);
    expect(slots.asks('each')).toEqual([
      { executors: ['a', 'b'], limit: 100 },
      { executors: ['c', 'd'], limit: 2 },
    ]);
    expect(slots.asks('unlimited')).toEqual([{ executors: ['a', 'b'], limit: 100 }]);
  });

  test('asks once for all while there is little to do', () => {
    const slots = new Slots(100, [open('a'), limited('c', 4)]);
    expect(slots.asks('all')).toEqual([{ executors: ['a', 'c'], limit: 4 }]);
    expect(new Slots(100, [open('a')]).asks('all')).toEqual([{ executors: ['a'], limit: 100 }]);
  });

  test('leaves out an executor at its limit, and asks for nothing without a free slot', async () => {
    const slots = new Slots(2, [open('a'), limited('c', 1)]);
    slots.enter('c', () => {});
    await manualClock().settle();
    expect(slots.asks('each')).toEqual([{ executors: ['a'], limit: 1 }]);
    slots.enter('a', () => {});
    expect(slots.asks('each')).toEqual([]);
  });
});

describe('waiting', () => {
  const middle = () => 0.5;
  test('looks again after about 5, 20 and 80 ms, then polls', () => {
    expect([1, 2, 3].map((n) => idleWaitMs(n, true, middle))).toEqual([5, 20, 80]);
    expect(idleWaitMs(1, true, () => 0)).toBe(3.75);
  });

  test.each([
    [true, pollMs.listening],
    [false, pollMs.alone],
  ])(
    'a poll (listening: %s) is never longer than %i ms, and at least three quarters of it',
    (listening, longest) => {
      expect(idleWaitMs(4, listening, () => 0)).toBe(longest);
      expect(idleWaitMs(9, listening, () => 0.999)).toBeGreaterThanOrEqual(longest * 0.75);
    },
  );

  test('a due step shortens the wait; when it is not claimable after all, the waits double', () => {
    expect(dueWaitMs(undefined, 0, 9_000)).toBe(9_000);
    expect(dueWaitMs(500, 0, 9_000)).toBe(502);
    expect(dueWaitMs(20_000, 0, 9_000)).toBe(9_000);
    expect([0, 1, 2, 3].map((misses) => dueWaitMs(-3_600_000, misses, 9_000))).toEqual([20, 40, 80, 160]);
  });

  test('backoff doubles from 0.2 s to 5 s and is at least half of that', () => {
    expect([1, 2, 3, 6, 50].map((n) => backoffMs(n, () => 0))).toEqual([200, 400, 800, 5_000, 5_000]);
    expect(backoffMs(1, () => 1)).toBe(100);
  });

  test('a ring before the wait is not lost, and many rings are one', async () => {
    const clock = manualClock();
    const bell = new Bell();
    bell.ring();
    bell.ring();
    expect(await bell.wait(clock, 1_000)).toBe(true);
    const second = bell.wait(clock, 1_000);
    await clock.advance(1_000);
    expect(await second).toBe(false);
  });
});

describe('settings', () => {
  const own = { leaseMinutes: 1, workspace: '/w' };
  const settings = (worker_policy: Record<string, never> | object) =>
    resolveSettings({ worker_policy: worker_policy as Record<string, never>, agent_roles: {} }, own);

  test('a timeout comes from the step, then its executor, then the policy, then the default of 600 s', () => {
    const policy = { timeout_seconds: 60, executors: { http: { timeout_seconds: 5 } } };
    const timeout = (timeout_seconds: number | null, executor: string) =>
      settings(policy).timeoutMs({ timeout_seconds, executor });
    expect([timeout(1, 'http'), timeout(null, 'http'), timeout(null, 'noop')]).toEqual([
      1_000, 5_000, 60_000,
    ]);
    expect(settings({}).timeoutMs({ timeout_seconds: null, executor: 'noop' })).toBe(600_000);
  });

  test('policy goes before options; what is odd falls back', () => {
    expect(settings({ lease_minutes: 0.5, workspace_root: '/p' })).toMatchObject({
      leaseMs: 30_000,
      workspace: '/p',
    });
    expect(settings({ lease_minutes: 'x', executors: 3 })).toMatchObject({
      leaseMs: 60_000,
      workspace: '/w',
    });
  });
});

describe('signals', () => {
  test.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('the first stops, a second %s forces with %i, HUP only reloads', (signal, code) => {
    const target = new EventEmitter();
    const said: unknown[] = [];
    const unbind = bindSignals(target, {
      stop: () => said.push('stop'),
      force: (exitCode) => said.push(exitCode),
      reload: () => said.push('reload'),
    });
    target.emit('SIGHUP');
    target.emit('SIGTERM');
    target.emit(signal);
    expect(said).toEqual(['reload', 'stop', code]);
    unbind();
    expect(target.eventNames()).toEqual([]);
  });
});
