/** What has ended, as spans for OpenTelemetry. */
import { z } from 'zod';
import { arg, call, rows, value } from '../call.js';

/** One span as OpenTelemetry has it; times in microseconds since 1970. */
export const Span = z.object({
  trace_id: z.string(),
  span_id: z.string(),
  parent_span_id: z.string().nullable(),
  name: z.string(),
  start_us: z.int(),
  end_us: z.int(),
  error: z.boolean(),
  attributes: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
});
export type Span = z.output<typeof Span>;

export const TakenSpans = z.object({ spans: z.array(Span), more: z.boolean() });

export const TraceContext = z.object({ mission_id: z.uuid(), traceparent: z.string() });

export const spanCalls = {
  takeSpans: call('ops_take_spans', { limit: arg.int.orDefault }, value(TakenSpans)),
  traceContexts: call('ops_trace_contexts', { missions: arg.uuids }, rows(TraceContext)),
};
