/** What an attempt used: every call counts, also those that failed. */
import type { Cost } from '../contract.js';
import { Fault, mayHaveSpent } from './fault.js';
import { costOf, type Price, type Usage } from './prices.js';

export type Called = {
  provider: string;
  model: string;
  price: Price | undefined;
  latencyMs: number;
  usage?: Usage | undefined;
  /** What it threw instead of an answer. */
  error?: unknown;
};

export type Used = {
  usage: { input_tokens: number; output_tokens: number } | null;
  cost_usd: number | null;
  latency_ms: number;
};

export type Meter = {
  add(called: Called): void;
  used(): Used;
  /**
   * Reports to the attempt. `tokens` and `usd` are left out unless they are complete: then a budget settles at the
   * step's reserve, which is the safe side.
   */
  report(cost: (used: Cost) => void): void;
};

export function createMeter(): Meter {
  const total = { calls: 0, failed: 0, input: 0, output: 0, usd: 0, latencyMs: 0 };
  const known = { tokens: true, usd: true };
  let last: Called | undefined;

  const used = (): Used => ({
    usage: known.tokens ? { input_tokens: total.input, output_tokens: total.output } : null,
    cost_usd: known.tokens && known.usd ? round(total.usd) : null,
    latency_ms: Math.round(total.latencyMs),
  });

  return {
    add(called) {
      const usage = called.usage ?? usageOf(called.error);
      last = called;
      total.calls++;
      total.failed += called.error === undefined ? 0 : 1;
      total.latencyMs += called.latencyMs;
      if (usage === undefined) {
        known.tokens &&= called.error instanceof Fault && !mayHaveSpent(called.error);
        return;
      }
      const usd = costOf(usage, called.price);
      known.usd &&= usd !== undefined;
      total.usd += usd ?? 0;
      total.input += usage.input;
      total.output += usage.output;
    },
    used,
    report(cost) {
      const { usage, cost_usd, latency_ms } = used();
      cost({
        calls: total.calls,
        failed_calls: total.failed,
        input_tokens: total.input,
        output_tokens: total.output,
        latency_ms,
        ...(usage !== null && { tokens: total.input + total.output }),
        ...(cost_usd !== null && { usd: cost_usd }),
        ...(last !== undefined && { provider: last.provider, model: last.model }),
      });
    },
  };
}

const usageOf = (error: unknown): Usage | undefined => (error instanceof Fault ? error.usage : undefined);

/** To a millionth of a cent: sums of binary fractions have long tails. */
const round = (usd: number): number => Math.round(usd * 1e8) / 1e8;
