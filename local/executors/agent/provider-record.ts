/** What is known of one provider: its breaker, a hold that it asked for, and the figures that are reported. */
import { type CircuitBreakerPolicy, CircuitState } from 'cockatiel';
import type { LlmReport } from '../../../supabase/client/schemas/inputs.js';
import { Fault } from './fault.js';

/** A limit without Retry-After; the least and the most that one may ask for; how long a refused key rests. */
export const hold = { limitedMs: 20_000, leastMs: 1_000, mostMs: 3_600_000, refusedMs: 300_000 } as const;
/** Successful calls that latencies are taken from. */
const samples = 100;

export type ProviderRecord = {
  breaker: CircuitBreakerPolicy;
  openedAt: number | undefined;
  held: { state: 'limited' | 'refused'; until: number } | undefined;
  model: string | null;
  failures: number;
  calls: number;
  failedCalls: number;
  latencies: number[];
  lastError: string | null;
  lastErrorAt: number | undefined;
  lastSuccessAt: number | undefined;
  resetDone: number;
};

export const newRecord = (breaker: CircuitBreakerPolicy): ProviderRecord => ({
  breaker,
  openedAt: undefined,
  held: undefined,
  model: null,
  failures: 0,
  calls: 0,
  failedCalls: 0,
  latencies: [],
  lastError: null,
  lastErrorAt: undefined,
  lastSuccessAt: undefined,
  resetDone: 0,
});

export function refuseIfHeld({ held }: ProviderRecord, now: number): void {
  if (held === undefined || held.until <= now) return;
  if (held.state === 'refused')
    throw new Fault('key', 'refused the key or has no credit, and is not asked for a while');
  throw new Fault('open', 'asked to be left alone for a while', { retryAfterMs: held.until - now });
}

export function succeeded(record: ProviderRecord, start: number, now: number): void {
  record.calls++;
  record.failures = 0;
  record.lastSuccessAt = now;
  record.latencies.push(now - start);
  if (record.latencies.length > samples) record.latencies.shift();
}

export function failed(record: ProviderRecord, fault: Fault, now: number): void {
  record.calls++;
  record.failedCalls++;
  record.failures++;
  record.lastError = fault.status === undefined ? fault.kind : `${fault.kind} ${fault.status}`;
  record.lastErrorAt = now;
  const held = holdFor(fault);
  if (held !== undefined) record.held = { state: held.state, until: now + held.ms };
}

function holdFor({ kind, retryAfterMs }: Fault): { state: 'limited' | 'refused'; ms: number } | undefined {
  if (kind === 'key' || kind === 'credit') return { state: 'refused', ms: hold.refusedMs };
  if (kind !== 'limited' && retryAfterMs === undefined) return undefined;
  const ms = Math.min(Math.max(retryAfterMs ?? hold.limitedMs, hold.leastMs), hold.mostMs);
  return { state: 'limited', ms };
}

export function stateOf({ held, breaker }: ProviderRecord, now: number): LlmReport['state'] {
  if (held !== undefined && held.until > now) return held.state;
  if (breaker.state === CircuitState.HalfOpen) return 'half_open';
  return breaker.state === CircuitState.Closed ? 'closed' : 'open';
}

export function reportOf(
  provider: string,
  record: ProviderRecord,
  now: number,
  openAgainInMs: number,
): LlmReport {
  const state = stateOf(record, now);
  const ago = (at: number | undefined) => (at === undefined ? null : Math.max(0, Math.round(now - at)));
  const heldFor = record.held === undefined ? 0 : record.held.until - now;
  return {
    provider,
    model: record.model,
    state,
    failures: record.failures,
    calls: record.calls,
    failed_calls: record.failedCalls,
    latency_p50_ms: percentile(record.latencies, 0.5),
    latency_p95_ms: percentile(record.latencies, 0.95),
    opened_ms_ago: state === 'open' || state === 'half_open' ? ago(record.openedAt) : null,
    asked_again_in_ms:
      state === 'closed' ? null : Math.round(Math.max(heldFor, state === 'open' ? openAgainInMs : 0)),
    last_error: record.lastError,
    last_error_ms_ago: ago(record.lastErrorAt),
    last_success_ms_ago: ago(record.lastSuccessAt),
    reset_done: record.resetDone,
  };
}

function percentile(latencies: readonly number[], share: number): number | null {
  const sorted = [...latencies].sort((a, b) => a - b);
  const at = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return at === undefined ? null : Math.round(at);
}
