/** Model providers as workers report them: shown with the database's times, and reset by way of the next report. */
import { randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { openDatabase } from '../../supabase/client/pg.js';
import type { LlmReport } from '../../supabase/client/schemas/inputs.js';
import { advanceClock, setClock } from '../support/clock.js';
import { useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;
beforeEach(() => db.sql('delete from ops_llm_breakers'));

const row = (over: Partial<LlmReport> = {}): LlmReport => ({
  provider: 'together',
  model: 'm',
  state: 'closed',
  failures: 0,
  calls: 3,
  failed_calls: 0,
  latency_p50_ms: 200,
  latency_p95_ms: 900,
  opened_ms_ago: null,
  asked_again_in_ms: null,
  last_error: null,
  last_error_ms_ago: null,
  last_success_ms_ago: 1_000,
  reset_done: 0,
  ...over,
});
const report = (worker: string, ...providers: LlmReport[]) => engine.port.reportLlm({ worker, providers });
const alive = (name: string) =>
  engine.port.registerWorker({ name, instance: randomUUID(), host: 'h', pid: 1, executors: [] });
const broken = row({
  state: 'open',
  failures: 5,
  opened_ms_ago: 10_000,
  asked_again_in_ms: 20_000,
  last_error: 'server 503',
  last_error_ms_ago: 10_000,
});

describe('a report', () => {
  test('is shown with times by the clock of the database', async () => {
    await setClock(db.sql, { at: '2026-11-20T12:00:00Z' });
    await alive('w');
    await report('w', broken);
    expect((await engine.port.llmHealth()).providers).toMatchObject([
      {
        worker: 'w',
        alive: true,
        provider: 'together',
        state: 'open',
        failures: 5,
        opened_at: '2026-11-20T11:59:50+00:00',
        asked_again_at: '2026-11-20T12:00:20+00:00',
        last_error: 'server 503',
        last_success_at: '2026-11-20T11:59:59+00:00',
        reset_pending: false,
        reported_at: '2026-11-20T12:00:00+00:00',
      },
    ]);
  });

  test('takes the place of the one before, and one nobody renews for a day goes', async () => {
    await report('w', row(), row({ provider: 'ollama' }));
    await report('w', row({ calls: 9 }));
    expect(await db.sql('select provider, calls from ops_llm_breakers order by provider')).toEqual([
      { provider: 'ollama', calls: '3' },
      { provider: 'together', calls: '9' },
    ]);
    await advanceClock(db.sql, '25 hours');
    await report('v', row());
    expect(await db.sql('select worker from ops_llm_breakers')).toEqual([{ worker: 'v' }]);
  });

  test.each([
    ['without a worker', '', [row()]],
    ['of too many providers', 'w', Array.from({ length: 51 }, (_, n) => row({ provider: `p${n}` }))],
  ])('%s is refused', async (_what, worker, providers) => {
    await expect(engine.port.reportLlm({ worker, providers })).rejects.toMatchObject({ code: 'OPS_011' });
  });
});

describe('the status', () => {
  const status = async () => (await engine.port.llmHealth()).status;

  test('looks at living workers only', async () => {
    expect(await status()).toBe('unknown');
    await report('gone', broken);
    expect(await status()).toBe('unknown');
    await alive('w');
    await report('w', row());
    expect(await status()).toBe('healthy');
    await advanceClock(db.sql, '61 seconds');
    expect(await status()).toBe('unknown');
  });

  test('is degraded while somebody can be asked, and down when nobody can', async () => {
    await alive('w');
    await report('w', broken, row({ provider: 'ollama' }));
    expect(await status()).toBe('degraded');
    await report('w', broken, row({ provider: 'ollama', state: 'refused' }));
    expect(await status()).toBe('down');
    await alive('v');
    await report('v', row({ state: 'half_open' }));
    expect(await status()).toBe('degraded');
  });
});

describe('a reset', () => {
  const pending = async () =>
    (await engine.port.llmHealth()).providers
      .filter((p) => p.reset_pending)
      .map((p) => `${p.worker} ${p.provider}`);

  test('reaches each worker with its next report, and is said again until one says that it is done', async () => {
    await report('v', broken);
    await report('w', broken, row({ provider: 'ollama' }));
    expect(await engine.port.resetLlm({ provider: 'together' })).toEqual({ workers: ['v', 'w'] });
    expect(await pending()).toEqual(['v together', 'w together']);
    const wanted = [{ provider: 'together', reset_wanted: 1 }];
    expect(await report('v', broken)).toEqual(wanted);
    expect(await report('v', broken)).toEqual(wanted);
    expect(await report('v', row({ reset_done: 1 }))).toEqual([]);
    expect(await pending()).toEqual(['w together']);
    expect(await report('w', broken, row({ provider: 'ollama' }))).toEqual(wanted);
  });

  test('of all providers reaches all, twice if it is said twice', async () => {
    await report('w', broken, row({ provider: 'ollama' }));
    await engine.port.resetLlm();
    await engine.port.resetLlm();
    expect(await report('w', row({ reset_done: 1 }), row({ provider: 'ollama', reset_done: 2 }))).toEqual([
      { provider: 'together', reset_wanted: 2 },
    ]);
  });

  test('is not missed by a worker that has counted further than its row', async () => {
    await report('w', row({ reset_done: 7 }));
    await engine.port.resetLlm();
    expect(await report('w', row({ reset_done: 7 }))).toEqual([{ provider: 'together', reset_wanted: 8 }]);
  });

  test('of a provider nobody has reported is refused with those that are known, and of all says who heard it', async () => {
    expect(await engine.port.resetLlm()).toEqual({ workers: [] });
    await report('w', row());
    const error = { code: 'OPS_012', hint: 'There are together.' };
    await expect(engine.port.resetLlm({ provider: 'togehter' })).rejects.toMatchObject(error);
  });
});

test('a worker that owns nothing may report, and neither look nor reset', async () => {
  const asWorker = openDatabase({ connectionString: db.adminUrl, max: 1, options: '-c role=ops_worker' });
  try {
    expect(await asWorker.port.reportLlm({ worker: 'w', providers: [row()] })).toEqual([]);
    for (const call of [asWorker.port.llmHealth(), asWorker.port.resetLlm()])
      await expect(call).rejects.toMatchObject({ code: 'OPS_001', cause: { code: '42501' } });
  } finally {
    await asWorker.close();
  }
});
