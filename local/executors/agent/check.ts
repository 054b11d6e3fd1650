/** `ops-loop llm check`: one small call through the same providers, breakers and faults as a step's. */
import type { Logger } from 'pino';
import { Fault } from './fault.js';
import type { Health } from './health.js';
import { createMeter } from './meter.js';
import { askInOrder, type Candidate } from './route.js';

export type Checked = {
  ok: boolean;
  provider: string | null;
  model: string | null;
  latency_ms: number;
  usage: { input_tokens: number; output_tokens: number } | null;
  cost_usd: number | null;
  /** Who was asked before, and why that came to nothing. */
  failed: { provider: string; problem: string }[];
};

export type CheckDeps = {
  candidates: readonly Candidate[];
  health: Health;
  secret: (name: string) => string | undefined;
  signal: AbortSignal;
  timeoutMs: number;
  log: Pick<Logger, 'warn'>;
};

/** Enough for a word, and for models that think before they say it. */
const maxTokens = 256;

/** Never throws but for a signal that is aborted. */
export async function checkModels({ candidates, ...deps }: CheckDeps): Promise<Checked> {
  const meter = createMeter();
  const failed: Checked['failed'] = [];
  for (const candidate of candidates) {
    const route = { ...deps, onCall: meter.add, now: () => performance.now() };
    const question = {
      messages: [{ role: 'user' as const, content: 'Answer with the one word: ok' }],
      tools: [],
      maxTokens,
    };
    try {
      const { provider, model } = await askInOrder([candidate], question, route);
      return { ok: true, provider, model, ...meter.used(), failed };
    } catch (error) {
      deps.signal.throwIfAborted();
      const problem =
        error instanceof Error && error.cause instanceof Fault ? error.cause.message : String(error);
      failed.push({ provider: candidate.provider.name, problem });
    }
  }
  return { ok: false, provider: null, model: null, ...meter.used(), failed };
}
