import { describe, expect, test } from 'vitest';
import { runBeat } from '../../supabase/client/beat.js';
import { OpsError } from '../../supabase/client/errors.js';
import type { OpsPort } from '../../supabase/client/port.js';
import type { BeatRound } from '../../supabase/client/schemas/rows.js';

const beatId = '7f0c6c2e-1f1c-4f57-9a35-5d0f2f6c7a11';
const round = (over: Partial<BeatRound> = {}): BeatRound => ({
  ok: true,
  more: false,
  beat_id: beatId,
  triggerResult: { events: 2, queued: 1 },
  reactionResult: { processed: 1, created: 1 },
  leaseResult: { requeued_steps: 1, failed_steps: 0 },
  staleResult: { recovered: 0 },
  gateResult: { gated: 1, approved: 1, rejected: 0, expired: 0 },
  scheduleResult: { fired: 0, missed: 0, unplanned: 0 },
  phases: 7,
  failures: [],
  ...over,
});

type Asked = Parameters<OpsPort['heartbeat']>[0];
function portWith(rounds: (BeatRound | Error)[]) {
  const asked: Asked[] = [];
  const recorded: unknown[] = [];
  const port = {
    heartbeat: async (args: Asked) => {
      asked.push(args);
      const next = rounds.shift();
      if (next === undefined || next instanceof Error) throw next ?? new Error('one round too many');
      return next;
    },
    recordBeatFailure: async (args: unknown) => {
      recorded.push(args);
      return { beat_id: beatId };
    },
  } as unknown as OpsPort;
  return { port, asked, recorded };
}

describe('a beat', () => {
  test('adds up its rounds until nothing is left, all under one id', async () => {
    const { port, asked } = portWith([round({ more: true }), round({ more: true }), round()]);
    const beat = await runBeat(
      port,
      { source: 'http', eventBatch: 5, reactionBatch: 6, staleMinutes: 7 },
      () => 0,
    );
    expect(beat).toEqual({
      ok: true,
      triggerResult: { events: 6, queued: 3 },
      reactionResult: { processed: 3, created: 3 },
      leaseResult: { requeued_steps: 3, failed_steps: 0 },
      staleResult: { recovered: 0 },
      gateResult: { gated: 3, approved: 3, rejected: 0, expired: 0 },
      scheduleResult: { fired: 0, missed: 0, unplanned: 0 },
      more: false,
      rounds: 3,
      phases: 21,
      beat_id: beatId,
      failures: [],
    });
    const sizes = { source: 'http', eventBatch: 5, reactionBatch: 6, staleMinutes: 7 };
    expect(asked).toEqual([sizes, { ...sizes, beatId }, { ...sizes, beatId }]);
  });

  test('ends when its budget is spent, and says that there is more', async () => {
    let now = 0;
    const { port, asked } = portWith([1, 2, 3, 4].map(() => round({ more: true })));
    const beat = await runBeat(port, { source: 'cron', budgetMs: 100 }, () => (now += 40));
    expect([beat.more, beat.rounds, asked.length]).toEqual([true, 3, 3]);
  });

  test('is not ok when a phase of any round failed', async () => {
    const failures = [{ phase: 'events', code: 'OPS_018', message: 'x' }];
    const { port } = portWith([round({ ok: false, failures, more: true }), round()]);
    expect(await runBeat(port, { source: 'http' }, () => 0)).toMatchObject({
      ok: false,
      failures,
      rounds: 2,
    });
  });

  test('records a round that threw, and keeps what was done before', async () => {
    const { port, recorded } = portWith([
      round({ more: true }),
      new OpsError('OPS_001', 'database unreachable'),
    ]);
    expect(await runBeat(port, { source: 'http' }, () => 0)).toMatchObject({
      ok: false,
      more: false,
      rounds: 1,
      triggerResult: { events: 2 },
      failures: [{ phase: 'round', code: 'OPS_001' }],
    });
    expect(recorded).toEqual([{ beatId, source: 'http', error: 'OPS_001 database unreachable' }]);
  });

  test('tries a tenth of the batch, then a hundredth, when a round runs out of time, whatever its budget', async () => {
    const late = () =>
      new OpsError('OPS_018', 'canceling statement due to statement timeout', {
        detail: { sqlstate: '57014' },
      });
    let now = 0;
    const { port, asked, recorded } = portWith([late(), late(), round({ more: true })]);
    const beat = await runBeat(port, { source: 'http', budgetMs: 100 }, () => (now += 90));
    expect(asked.map((args) => [args?.eventBatch, args?.reactionBatch])).toEqual([
      [500, 50],
      [50, 5],
      [5, 1],
    ]);
    expect(beat).toMatchObject({ ok: true, more: true, rounds: 1, failures: [] });
    expect(recorded).toEqual([]);

    const never = portWith([late(), late(), late()]);
    expect(await runBeat(never.port, { source: 'http' }, () => 0)).toMatchObject({ ok: false, rounds: 0 });
    expect(never.recorded).toHaveLength(1);
  });

  test('leaves no record of a reactive round', async () => {
    const { port, recorded } = portWith([new OpsError('OPS_001', 'database unreachable')]);
    expect(await runBeat(port, { source: 'reactive' }, () => 0)).toMatchObject({ ok: false, rounds: 0 });
    expect(recorded).toEqual([]);
  });
});
