/** Tokens, money and calls of tools out of what openclaw printed. Pure. */
import type { Usage } from './said.js';
import type { Figures, ToolSummary } from './shapes.js';

/** What a run used, as far as it says. */
export function figuresOf(
  { usage, costUsd, model, provider, sessionId, bridgeCalls }: Figures,
  summary: ToolSummary,
) {
  const calls = [summary?.calls, bridgeCalls?.call].filter((count) => count !== undefined);
  const flat = usage?.cost?.total;
  return {
    usage: usageOf(usage),
    // A model without a price leaves a total of nothing and no costUsd (tried with 2026.9.6): that is not known, not free.
    usd: rounded(costUsd ?? (flat !== undefined && flat > 0 ? flat : undefined)),
    ...{ model, provider, sessionId },
    toolCalls: calls.length === 0 ? undefined : calls.reduce((sum, count) => sum + count, 0),
    tools: summary?.tools ?? [],
  };
}

/** To a millionth of a cent: sums of binary fractions have long tails. */
const rounded = (usd: number | undefined): number | undefined => usd && Math.round(usd * 1e8) / 1e8;

function usageOf(usage: Figures['usage']): Usage | undefined {
  const { input, output, total } = usage ?? {};
  const all = total ?? (input === undefined || output === undefined ? 0 : input + output);
  // A provider that reported nothing leaves zeros, and no turn goes without a token.
  return all === 0 ? undefined : { input: input ?? 0, output: output ?? 0, total: all };
}
