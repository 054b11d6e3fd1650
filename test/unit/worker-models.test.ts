/** When a worker reports its model providers, and what it does with the resets it is told. */
import { describe, expect, test } from 'vitest';
import { Fault } from '../../local/executors/agent/fault.js';
import { Health } from '../../local/executors/agent/health.js';
import { ModelReporter } from '../../local/worker/models.js';
import type { LlmReport } from '../../supabase/client/schemas/inputs.js';
import { until } from '../support/until.js';
import { deferred, manualClock, recordingLog } from './worker-kit.js';

type Answer = { provider: string; reset_wanted: number }[];

function scene(settings: Record<string, string> = { OPS_LLM_PROVIDERS: 'together,ollama' }) {
  const clock = manualClock();
  const health = new Health({ now: clock.now });
  const { log, events } = recordingLog();
  const sent: LlmReport[][] = [];
  let answer = async (): Promise<Answer> => [];
  const reporter = new ModelReporter({
    ...{ clock, log, health, worker: 'w' },
    port: {
      reportLlm: ({ providers }) => {
        sent.push(providers);
        return answer();
      },
    },
    setting: (name) => settings[name],
  });
  const tickAfter = async (ms: number) => {
    await clock.advance(ms);
    await reporter.tick();
    return sent.length;
  };
  const answers = (next: () => Promise<Answer>) => {
    answer = next;
  };
  const call = (error?: Fault) =>
    health.guard('together', 'm', () => (error ? Promise.reject(error) : Promise.resolve())).catch(() => {});
  return { health, reporter, sent, events, tickAfter, answers, call };
}

describe('a report', () => {
  test('is never made where no model is used', async () => {
    const { tickAfter } = scene({});
    expect(await tickAfter(0)).toBe(0);
    expect(await tickAfter(60_000)).toBe(0);
  });

  test('names the providers that are set up, before any is asked', async () => {
    const { tickAfter, sent } = scene();
    await tickAfter(0);
    expect(sent[0]).toMatchObject([
      { provider: 'together', state: 'closed', calls: 0, model: null },
      { provider: 'ollama', state: 'closed', calls: 0, model: null },
    ]);
  });

  test('is made when there is news, but not within three seconds, and every half minute without', async () => {
    const { tickAfter, call } = scene();
    expect(await tickAfter(0)).toBe(1);
    expect(await tickAfter(10_000)).toBe(1);
    await call();
    expect(await tickAfter(0)).toBe(2);
    await call();
    expect(await tickAfter(2_999)).toBe(2);
    expect(await tickAfter(1)).toBe(3);
    expect(await tickAfter(29_999)).toBe(3);
    expect(await tickAfter(1)).toBe(4);
  });

  test('is made each time while a provider is not asked, for then somebody may wait for a reset', async () => {
    const { tickAfter, call, sent } = scene();
    await call(new Fault('key', 'no', { status: 401 }));
    expect(await tickAfter(0)).toBe(1);
    expect(await tickAfter(5_000)).toBe(2);
    expect(await tickAfter(5_000)).toBe(3);
    expect(sent[2]?.[0]).toMatchObject({
      state: 'refused',
      last_error: 'key 401',
      last_error_ms_ago: 10_000,
    });
  });

  test('is one at a time, and one that failed is made again', async () => {
    const { tickAfter, answers, events, reporter, sent } = scene();
    const first = deferred<Answer>();
    answers(() => first.promise);
    const running = tickAfter(0);
    await until(() => sent.length, { what: 'the first report is under way' });
    await reporter.tick();
    first.reject(new Error('away'));
    expect(await running).toBe(1);
    expect(events()).toEqual(['model.report_failed']);
    answers(async () => []);
    expect(await tickAfter(3_000)).toBe(2);
  });
});

test('a reset closes the breaker, and is reported as carried out at once', async () => {
  const { tickAfter, answers, call, health, sent, events } = scene();
  for (let n = 0; n < 5; n++) await call(new Fault('server', 'failed', { status: 503 }));
  expect(health.report()[0]).toMatchObject({ state: 'open', last_error: 'server 503' });
  answers(async () => (sent.length === 1 ? [{ provider: 'together', reset_wanted: 4 }] : []));
  await tickAfter(0);
  expect(health.report()[0]).toMatchObject({ state: 'closed', failures: 0 });
  expect(sent.map(([together]) => [together?.state, together?.reset_done])).toEqual([
    ['open', 0],
    ['closed', 4],
  ]);
  expect(events()).toEqual(['model.reset']);
});
