/** W3C Trace Context, level 1: the one header that carries a trace from program to program. */
import { createHash } from 'node:crypto';
import type { ClaimedStep } from '../../supabase/client/schemas/rows.js';

const form = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/**
 * The trace context of an attempt: the trace of its mission, and its own span, which the engine computes alike. Undefined
 * when the mission has no valid one. It says "sampled", because every attempt is exported.
 */
export function traceparentOf(
  step: Pick<ClaimedStep, 'id' | 'lease_epoch' | 'traceparent'>,
): string | undefined {
  const [, traceId] = form.exec(step.traceparent ?? '') ?? [];
  return traceId === undefined ? undefined : `00-${traceId}-${attemptSpanId(step)}-01`;
}

/** As `ops_attempt_span_id` in SQL. */
const attemptSpanId = ({ id, lease_epoch }: Pick<ClaimedStep, 'id' | 'lease_epoch'>): string =>
  createHash('sha256').update(`${id}:${lease_epoch}`).digest('hex').slice(0, 16);
