/** Time, claims and logs for the worker's unit tests. The database's own behaviour is never played here. */
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { z } from 'zod';
import { defineExecutor, type Executor, type StepContext } from '../../local/executors/contract.js';
import { Attempt } from '../../local/worker/attempt.js';
import type { Clock } from '../../local/worker/clock.js';
import type { LogLine } from '../../local/worker/log.js';
import { Outage } from '../../local/worker/outage.js';
import type { ClaimedStep } from '../../supabase/client/schemas/rows.js';

export type ManualClock = Clock & {
  /** Moves time and runs what is due, in order; `soon` callbacks run without time passing. */
  advance(ms: number): Promise<void>;
  /** Lets everything happen that needs no time. */
  settle(): Promise<void>;
};

type Timer = { at: number; run: () => void };

export function manualClock(start = 1_000): ManualClock {
  let now = start;
  const timers = new Set<Timer>();
  const settle = async () => {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  const next = (until: number): Timer | undefined =>
    [...timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
  return {
    now: () => now,
    wall: () => now,
    soon: (run) => void setImmediate(run),
    after: (ms, run) => {
      const timer = { at: now + ms, run };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    settle,
    advance: async (ms) => {
      const end = now + ms;
      await settle();
      for (let timer = next(end); timer !== undefined; timer = next(end)) {
        timers.delete(timer);
        now = Math.max(now, timer.at);
        timer.run();
        await settle();
      }
      now = end;
    },
  };
}

/** A logger that keeps its lines. */
export function recordingLog(level = 'debug') {
  const lines: (LogLine & { level: number })[] = [];
  const log = pino({ level, base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const events = () => lines.map(({ event }) => event);
  return { log, lines, events };
}

export const steadyRandom = () => 0.5;

export function quietOutage() {
  return new Outage(recordingLog().log, steadyRandom).counter();
}

export function executor(run: (ctx: StepContext) => unknown, over: Partial<Executor> = {}): Executor {
  return defineExecutor({
    name: 'drill',
    params: z.looseObject({}),
    traits: { idempotent: true, risk: 'low' },
    run,
    ...over,
  });
}

export function claimed(over: Partial<ClaimedStep> = {}): ClaimedStep {
  return {
    id: randomUUID(),
    mission_id: randomUUID(),
    key: 'step_1',
    kind: 'drill',
    executor: 'drill',
    params: {},
    lease_epoch: 1,
    lease_expires_at: '2026-01-01T00:00:00+00:00',
    attempt: 1,
    timeout_seconds: null,
    role: null,
    traceparent: null,
    dry_run: false,
    priority: 0,
    ready_at: '2026-01-01T00:00:00+00:00',
    ...over,
  };
}

/** An attempt whose lease is trusted until the given time of the clock. */
export function attempt(
  clock: Clock,
  over: { step?: Partial<ClaimedStep>; executor?: Executor; trustedUntil?: number } = {},
): Attempt {
  const until = over.trustedUntil ?? clock.now() + 54_000;
  return new Attempt(claimed(over.step), over.executor ?? executor(() => null), clock.now(), until);
}

/** A promise that the test settles. */
export function deferred<T = void>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
