import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { StepContext } from '../../local/executors/contract.js';
import type { Attempt } from '../../local/worker/attempt.js';
import type { Written } from '../../local/worker/outcome.js';
import { Runner } from '../../local/worker/runner.js';
import { signalGraceMs } from '../../local/worker/settings.js';
import { Slots } from '../../local/worker/slots.js';
import { attempt, deferred, executor, manualClock, recordingLog } from './worker-kit.js';

function runnerWith(run: (ctx: StepContext) => unknown, over: Parameters<typeof executor>[1] = {}) {
  const clock = manualClock();
  const { log, lines, events } = recordingLog();
  const drill = executor(run, over);
  const slots = new Slots(10, [drill]);
  const outcomes: { attempt: Attempt; outcome: Written }[] = [];
  const runner = new Runner({
    slots,
    clock,
    log,
    surroundings: () => ({
      log,
      db: {} as never,
      secrets: (name) => (name === 'TOKEN' ? 's3cret-value' : undefined),
      policies: { worker_policy: {}, agent_roles: {} },
      workspace: '/w',
    }),
    timeoutMs: ({ timeout_seconds }) => (timeout_seconds ?? 600) * 1_000,
    onOutcome: (ended, outcome) => outcomes.push({ attempt: ended, outcome }),
    onFree: () => {},
    // What the lease keeper does.
    onSweep: () => {
      for (const held of runner.running) if (held.trustedUntil <= clock.now()) held.end('lost', clock.now());
    },
  });
  const begin = (step = {}) => {
    const begun = attempt(clock, { executor: drill, step });
    runner.start(begun);
    return begun;
  };
  return { clock, runner, slots, outcomes, begin, lines, events };
}

const untilAborted = ({ signal }: StepContext) =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
const deaf = () => new Promise(() => {});

describe('a timeout', () => {
  test('aborts the signal within 100 ms of its time and is the outcome', async () => {
    const { clock, begin, outcomes, slots } = runnerWith(untilAborted);
    const begun = begin({ timeout_seconds: 2 });
    await clock.advance(1_999);
    expect(begun.ending).toBeUndefined();
    await clock.advance(101);
    expect(begun.ending).toBe('timed_out');
    expect(outcomes).toMatchObject([
      { attempt: begun, outcome: { kind: 'fail', failure: { outcome: 'timed_out' } } },
    ]);
    expect(slots.taken).toBe(0);
  });

  test('also ends an executor that ignores its signal: after the grace the slot is given up', async () => {
    const { clock, begin, outcomes, slots, events } = runnerWith(deaf);
    begin({ timeout_seconds: 1 });
    await clock.advance(1_000 + signalGraceMs - 100);
    expect([outcomes.length, slots.taken]).toEqual([0, 1]);
    await clock.advance(300);
    expect(outcomes).toMatchObject([{ outcome: { kind: 'fail', failure: { outcome: 'timed_out' } } }]);
    expect(slots.taken).toBe(0);
    expect(events()).toContain('attempt.given_up');
  });

  test('what a given-up executor still answers is only logged', async () => {
    const gate = deferred<string>();
    const { clock, begin, outcomes, events } = runnerWith(() => gate.promise);
    begin({ timeout_seconds: 1 });
    await clock.advance(1_200 + signalGraceMs);
    gate.resolve('at last');
    await clock.settle();
    expect(outcomes).toHaveLength(1);
    expect(events()).toContain('attempt.late');
  });
});

describe('a lost lease', () => {
  test('ends without an outcome and frees the slot', async () => {
    const { clock, begin, outcomes, slots } = runnerWith(untilAborted);
    const begun = begin();
    await clock.settle();
    begun.end('lost', clock.now());
    await clock.settle();
    expect([outcomes, slots.taken]).toEqual([[], 0]);
  });

  test('overrides an earlier reason: then nothing is written either', async () => {
    const gate = deferred();
    const { clock, begin, outcomes } = runnerWith(() => gate.promise);
    const begun = begin();
    begun.end('timed_out', clock.now());
    begun.end('lost', clock.now());
    gate.resolve();
    await clock.settle();
    expect(outcomes).toEqual([]);
  });
});

describe('a dry run', () => {
  test('never calls its executor, nor asks whether the params fit it, and says what it would have been called with', async () => {
    const calls: unknown[] = [];
    const { clock, begin, outcomes, slots } = runnerWith(
      (ctx) => {
        calls.push(ctx.params);
        throw new Error('it did something in the world');
      },
      { params: z.strictObject({ target: z.url() }) },
    );
    const params = { target: '{{steps.look.result.url}}', typo: 1 };
    begin({ dry_run: true, params });
    await clock.settle();
    expect(calls).toEqual([]);
    const result = { dry_run: true, executor: 'drill', params };
    expect(outcomes.map(({ outcome }) => outcome)).toMatchObject([{ kind: 'complete', result }]);
    begin({ params: { target: 'https://example.com' } });
    await clock.settle();
    expect([calls.length, outcomes[1]?.outcome.kind, slots.taken]).toEqual([1, 'fail', 0]);
  });
});

describe('a step that waits for the limit of its executor', () => {
  const alone = { traits: { idempotent: false, risk: 'low', localLimit: 1 } } as const;

  function waiting(first: Promise<unknown>) {
    let calls = 0;
    const parts = runnerWith(() => (++calls === 1 ? first : null), alone);
    parts.begin();
    return { ...parts, second: parts.begin(), calls: () => calls };
  }

  test('until its lease is over never starts: another worker may have it', async () => {
    const gate = deferred();
    const { clock, second, outcomes, calls, runner } = waiting(gate.promise);
    second.trustedUntil = clock.now() + 50;
    await clock.advance(60);
    gate.resolve();
    await clock.settle();
    expect([calls(), outcomes.length, runner.running.size]).toEqual([1, 1, 0]);
  });

  test('and is told to stop is given back, whatever its executor is', async () => {
    const { clock, second, outcomes, calls } = waiting(deferred().promise);
    second.end('halted', clock.now());
    await clock.advance(100);
    expect(calls()).toBe(1);
    expect(outcomes).toMatchObject([{ attempt: second, outcome: { kind: 'release' } }]);
  });

  test('and is cancelled ends as cancelled', async () => {
    const { clock, second, outcomes } = waiting(deferred().promise);
    second.end('cancelled', clock.now());
    await clock.advance(100);
    expect(outcomes).toMatchObject([{ outcome: { failure: { outcome: 'cancelled' } } }]);
  });
});

describe('a run', () => {
  test('whose parameters do not fit never starts the executor', async () => {
    let ran = false;
    const { clock, begin, outcomes } = runnerWith(() => {
      ran = true;
    });
    begin({ params: 'not an object' as never });
    await clock.settle();
    expect(ran).toBe(false);
    expect(outcomes).toMatchObject([
      { outcome: { failure: { outcome: 'permanent', error_class: 'InvalidParams' } } },
    ]);
  });

  test('makes no abort controller for an executor that never asks for its signal', async () => {
    const seen: unknown[] = [];
    const original = globalThis.AbortController;
    globalThis.AbortController = class extends original {
      constructor() {
        super();
        seen.push(this);
      }
    };
    try {
      const { clock, begin, outcomes } = runnerWith(() => 'quick');
      begin();
      await clock.settle();
      expect([outcomes.length, seen.length]).toEqual([1, 0]);
    } finally {
      globalThis.AbortController = original;
    }
  });

  test('of an executor at its local limit waits in its slot, and can be taken back unstarted', async () => {
    const { clock, runner, begin, outcomes, slots } = runnerWith(deaf, {
      traits: { idempotent: true, risk: 'low', localLimit: 1 },
    });
    begin();
    const waiting = begin();
    await clock.settle();
    expect([waiting.started, slots.taken]).toEqual([false, 2]);
    expect(runner.takeBackUnstarted()).toEqual([waiting]);
    expect(outcomes).toEqual([{ attempt: waiting, outcome: { kind: 'release' } }]);
  });

  test('logs neither secrets nor, above debug, its success', async () => {
    const { clock, begin, lines } = runnerWith((ctx) => {
      throw new Error(`refused ${ctx.secret('TOKEN')}`);
    });
    begin();
    await clock.settle();
    expect(lines).toMatchObject([
      { event: 'attempt.failed', level: 40, error: 'refused [redacted]', code: 'OPS_007' },
    ]);
  });
});
