import { describe, expect, test } from 'vitest';
import type { Attempt } from '../../local/worker/attempt.js';
import { type Answer, batchSize, Completer, flushInMs, gatherMs } from '../../local/worker/completer.js';
import type { Written } from '../../local/worker/outcome.js';
import type { Send } from '../../local/worker/write-back.js';
import { OpsError } from '../../supabase/client/errors.js';
import { attempt, deferred, manualClock, quietOutage, recordingLog } from './worker-kit.js';

const success: Written = { kind: 'complete', result: null, events: [] };

function completerWith(send: Send) {
  const clock = manualClock();
  const { log, lines, events } = recordingLog();
  const settled: { attempt: Attempt; kind: string; answer: Answer | undefined }[] = [];
  const completer = new Completer({
    send,
    clock,
    log,
    outage: quietOutage(),
    onSettled: (ended, kind, answer) => settled.push({ attempt: ended, kind, answer }),
    onStored: () => {},
  });
  const push = (count: number, outcome = success, trustedUntil?: number) => {
    const pushed = Array.from({ length: count }, () =>
      attempt(clock, trustedUntil === undefined ? {} : { trustedUntil }),
    );
    for (const ended of pushed) completer.push(ended, outcome, undefined);
    return pushed;
  };
  return { clock, completer, push, settled, lines, events };
}

const held: Send = async (_, items) =>
  items.map(({ attempt: { step } }) => ({
    step_id: step.id,
    lease_epoch: step.lease_epoch,
    held: true,
    status: 'succeeded',
  }));

/** Sends that stay under way until the test answers them. */
function heldSends() {
  const sizes: number[] = [];
  const gates: ReturnType<typeof deferred<void>>[] = [];
  const send: Send = async (kind, items) => {
    sizes.push(items.length);
    const gate = deferred();
    gates.push(gate);
    await gate.promise;
    return held(kind, items);
  };
  return { send, sizes, answer: () => gates.shift()?.resolve() };
}

const away = () => new OpsError('OPS_001', 'database unreachable');

describe('when a flush is due', () => {
  const state = { size: 1, inFlight: 0, oldestAgeMs: 0, awayForMs: 0 };
  test.each([
    ['nothing to write: never', { ...state, size: 0 }, undefined],
    ['nothing under way: at once', state, 0],
    ['one under way: after the rest of 25 ms', { ...state, inFlight: 1, oldestAgeMs: 10 }, gatherMs - 10],
    [
      'one under way and the oldest has waited long enough: at once',
      { ...state, inFlight: 1, oldestAgeMs: 30 },
      0,
    ],
    ['one under way and a full batch: at once', { ...state, inFlight: 1, size: batchSize }, 0],
    ['two under way: when one returns', { ...state, inFlight: 2, size: 5_000 }, undefined],
    ['the database is away: when the backoff ends', { ...state, awayForMs: 300, size: 5_000 }, 300],
  ])('%s', (_, given, expected) => expect(flushInMs(given)).toBe(expected));
});

describe('batches', () => {
  test('everything that ends in one turn goes out together, at once', async () => {
    const { send, sizes } = heldSends();
    const { clock, push } = completerWith(send);
    push(40);
    await clock.settle();
    expect(sizes).toEqual([40]);
  });

  test('what ends while a flush is under way gathers for 25 ms, and at most two are under way', async () => {
    const { send, sizes, answer } = heldSends();
    const { clock, push, completer } = completerWith(send);
    push(1);
    await clock.settle();
    push(3);
    await clock.advance(gatherMs - 1);
    expect(sizes).toEqual([1]);
    await clock.advance(1);
    expect(sizes).toEqual([1, 3]);
    push(600);
    await clock.advance(1_000);
    expect(sizes).toEqual([1, 3]);
    answer();
    await clock.settle();
    expect(sizes).toEqual([1, 3, batchSize]);
    expect(completer.unwritten).toBe(603);
  });

  test('each kind of outcome has its own call, and each answer reaches its attempt', async () => {
    const kinds: string[] = [];
    const { clock, push, settled } = completerWith((kind, items) => {
      kinds.push(kind);
      return held(kind, items);
    });
    const [done] = push(1);
    push(2, { kind: 'fail', failure: { outcome: 'retryable', error: 'x' } });
    push(1, { kind: 'release' });
    await clock.settle();
    expect(kinds.sort()).toEqual(['complete', 'fail', 'release']);
    expect(settled).toHaveLength(4);
    expect(settled.find(({ kind }) => kind === 'complete')?.attempt).toBe(done);
  });
});

describe('while the database is away', () => {
  test('outcomes are kept and written when it is back', async () => {
    let isAway = true;
    const { clock, push, completer, settled } = completerWith((kind, items) => {
      if (isAway) throw away();
      return held(kind, items);
    });
    push(10);
    await clock.advance(1_000);
    expect([completer.unwritten, settled.length]).toEqual([10, 0]);
    isAway = false;
    await clock.advance(5_000);
    expect([completer.unwritten, settled.length]).toEqual([0, 10]);
  });

  test('an outcome is dropped when its lease is no longer trusted, and the others are kept', async () => {
    const { clock, push, completer, settled, lines } = completerWith(() => {
      throw away();
    });
    const [short] = push(1, success, clock.now() + 2_000);
    push(1);
    await clock.advance(10_000);
    expect(settled).toEqual([{ attempt: short, kind: 'complete', answer: undefined }]);
    expect(completer.unwritten).toBe(1);
    expect(lines).toContainEqual(
      expect.objectContaining({ event: 'lease.lost', code: 'OPS_006', step_id: short?.step.id }),
    );
  });

  test('at the end, what cannot be written is given up and counted', async () => {
    const { clock, push, completer } = completerWith(() => {
      throw away();
    });
    push(3);
    const drained = completer.drained(1_500);
    await clock.advance(1_500);
    expect(await drained).toBe(false);
    expect(completer.abandon()).toBe(3);
  });
});

describe('what the engine says no to', () => {
  test('a lost lease is logged with OPS_006 and its attempt is over', async () => {
    const { clock, push, settled, events } = completerWith(async (kind, items) =>
      (await held(kind, items)).map((answer) => ({ ...answer, held: false })),
    );
    push(1);
    await clock.settle();
    expect(settled.map(({ answer }) => answer)).toEqual([undefined]);
    expect(events()).toEqual(['lease.lost']);
  });

  test('one outcome that cannot be stored becomes a permanent failure and does not hold up its batch', async () => {
    const poison: string[] = [];
    const { clock, push, settled } = completerWith(async (kind, items) => {
      const bad = items.some(({ attempt: { step } }) => poison.includes(step.id));
      if (kind === 'complete' && bad) throw new OpsError('OPS_011', 'the result cannot be stored');
      return held(kind, items);
    });
    const pushed = push(9);
    poison.push(pushed[4]?.step.id ?? '');
    await clock.settle();
    await clock.advance(1_000);
    expect(settled.filter(({ kind }) => kind === 'complete')).toHaveLength(8);
    expect(settled.filter(({ kind }) => kind === 'fail').map(({ attempt: a }) => a)).toEqual([pushed[4]]);
  });

  test('an error that may pass is not held against the outcome', async () => {
    let calls = 0;
    const { clock, push, settled } = completerWith((kind, items) => {
      if (++calls === 1) throw new OpsError('OPS_018', 'disk full', { detail: { sqlstate: '53100' } });
      return held(kind, items);
    });
    push(2);
    await clock.advance(1_000);
    expect(settled.map(({ kind }) => kind)).toEqual(['complete', 'complete']);
  });
});
