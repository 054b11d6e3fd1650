/** The executor `radar`: the contract over a stand-in for the engine, then claimed steps on the engine itself. */
import { describe, expect, test } from 'vitest';
import type { ExecutorDatabase } from '../../local/executors/contract.js';
import { radar } from '../../local/executors/radar.js';
import { noop, only, useEngine } from '../sql/engine-kit.js';
import { checkExecutor, startStep } from './kit.js';

const id = '7f0c6c2e-1f1c-4f57-9a35-5d0f2f6c7a11';
const at = '2026-11-20T08:00:00+00:00';
const signal = {
  ...{ id, title: 'dark mode', source: 'manual', stage: 'watching' as const, score: 1, weight: 1, tags: [] },
  ...{
    mentions: 1,
    dedupe_key: 'dark mode',
    first_seen_at: at,
    last_seen_at: at,
    moved_at: null,
    merged_into: null,
  },
};
const row = { ...signal, sources: 1, cursor: `score 1 ${id}` };
/** A stand-in: what the engine answers for one signal that is watched. */
const db: Partial<ExecutorDatabase> = {
  radarAdd: async () => [
    { position: 0, id, created: true, counted: true, mentions: 1, score: 1, stage: 'watching' },
  ],
  radarMove: async () => ({
    id,
    stage: 'validating',
    from: 'watching',
    changed: true,
    next: ['building', 'dropped'],
  }),
  radarWeigh: async () => ({ id, weight: 5, score: 5, changed: true }),
  radarList: async () => [row],
  radarTop: async () => [row],
  radarGet: async () => ({
    ...{ ...signal, description: null, sources: ['manual'], next: [], evidence: [{ at, source: 'manual' }] },
    ...{ moved_by: null, move_reason: null, moved_step: null },
  }),
};

checkExecutor(radar, {
  good: [
    {
      action: 'add',
      title: 'dark mode',
      tags: ['ui'],
      evidence: { url: 'x' },
      by: null,
      link: 'https://a/b',
    },
    { action: 'move', id, stage: 'validating', reason: 'ten asked' },
    { action: 'weigh', dedupe_key: 'dark mode', weight: 5 },
    { action: 'list', stage: 'open', tag: 'ui', text: 'dark', min_score: 1, sort: 'recent', limit: 5 },
    { action: 'top', count: 3 },
    { action: 'get', id },
  ].map((params) => ({ params, around: { db } })),
  bad: [
    ...[
      {},
      { action: 'add' },
      { action: 'drop' },
      { action: 'list', limit: 0 },
      { action: 'list', stage: 'x' },
    ],
    ...[
      { action: 'move', id },
      { action: 'move', stage: 'dropped' },
      { action: 'get', id, dedupe_key: 'x' },
    ],
    ...[
      { action: 'weigh', id, weight: 101 },
      { action: 'add', title: 'x', link: 'javascript:1' },
    ],
  ],
});

describe('a step on the radar', () => {
  const engine = useEngine();
  /** One attempt of a claimed step; each further call is a retry of it. */
  const claimed = async () => {
    await engine.mission([noop('radar')]);
    const step = only(await engine.claim());
    const around = { db: engine.port, stepId: step.id, attempt: step.lease_epoch };
    return { around, run: (params: unknown) => startStep(radar, params, around).outcome };
  };
  const result = { kind: 'complete', events: [] };

  test('adds once however often it is tried, and the engine raises the event, not the step', async () => {
    const { run } = await claimed();
    const add = { action: 'add', title: 'dark mode', weight: 3, evidence: { n: 1 } };
    expect(await run(add)).toMatchObject({
      ...result,
      result: { created: true, mentions: 1, score: 3, stage: 'watching' },
    });
    expect(await run(add)).toMatchObject({
      ...result,
      result: { created: false, counted: false, mentions: 1 },
    });
    const raised = await engine.db.sql(
      "select type, mission_id is not null as ours from ops_agent_events where type like 'radar:%'",
    );
    expect(raised).toEqual([{ type: 'radar:watching', ours: true }]);
  });

  test('moves, weighs and gets by id or dedupe key, and lists page by page', async () => {
    await engine.port.radarAdd({ signals: [{ title: 'a' }, { title: 'b' }] });
    const { run } = await claimed();
    expect(await run({ action: 'move', dedupe_key: 'a', stage: 'validating' })).toMatchObject({
      ...result,
      result: { changed: true },
    });
    expect(await run({ action: 'weigh', dedupe_key: 'a', weight: 9 })).toMatchObject({
      ...result,
      result: { score: 9 },
    });
    expect(await run({ action: 'get', dedupe_key: 'a' })).toMatchObject({
      ...result,
      result: { stage: 'validating', weight: 9 },
    });
    const page = await run({ action: 'list', limit: 1 });
    expect(page).toMatchObject({
      ...result,
      result: { signals: [{ title: 'a' }], next_cursor: expect.stringMatching(/^score /) },
    });
    expect(await run({ action: 'top', count: 5 })).toMatchObject({
      ...result,
      result: { signals: [{ title: 'a' }, { title: 'b' }] },
    });
    expect(await run({ action: 'list', stage: 'shipped' })).toEqual({
      ...result,
      result: { signals: [], next_cursor: null },
    });
  });

  test.each([
    [
      'a move that is not legal',
      { action: 'move', dedupe_key: 'a', stage: 'shipped' },
      'OPS_015',
      'validating or dropped',
    ],
    ['a signal that is not there', { action: 'get', dedupe_key: 'zzz' }, 'OPS_012', 'no signal has'],
  ])('fails for good on %s, and says why', async (_, params, error_class, said) => {
    await engine.port.radarAdd({ signals: [{ title: 'a' }] });
    const { run } = await claimed();
    expect(await run(params)).toMatchObject({
      kind: 'fail',
      failure: { outcome: 'permanent', error_class, error: expect.stringContaining(said) },
    });
  });

  test('that lost its lease adds nothing', async () => {
    const { around } = await claimed();
    const late = startStep(
      radar,
      { action: 'add', title: 'late' },
      { ...around, attempt: around.attempt + 1 },
    );
    expect(await late.outcome).toMatchObject({ kind: 'fail', failure: { error_class: 'OPS_006' } });
    expect(await engine.port.radarList()).toEqual([]);
  });
});
