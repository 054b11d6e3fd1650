/**
 * Spans to an OpenTelemetry collector: OTLP over HTTP, as JSON. The only file that loads the library, and only whoever
 * has an endpoint loads this file.
 */
import { SpanKind, SpanStatusCode, TraceFlags } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import type { Span } from '../../supabase/client/schemas/rows.js';

export type SendSpans = (spans: readonly Span[]) => Promise<void>;
export type OtlpOptions = {
  /** The base address; `/v1/traces` is added, as the OTLP specification of environment variables says. */
  endpoint: string;
  headers: Readonly<Record<string, string>>;
  /** Attributes of the resource: who this is. */
  resource: Readonly<Record<string, string>>;
  timeoutMs: number;
};

/** `send` rejects when the collector did not take the batch. */
export function createOtlpExporter({ endpoint, headers, resource, timeoutMs }: OtlpOptions): {
  send: SendSpans;
  close(): Promise<void>;
} {
  const url = `${endpoint.replace(/\/+$/, '')}/v1/traces`;
  const exporter = new OTLPTraceExporter({ url, headers: { ...headers }, timeoutMillis: timeoutMs });
  const source = resourceOf(resource);
  const send: SendSpans = (spans) =>
    new Promise((resolve, reject) => {
      exporter.export(
        spans.map((span) => toReadable(span, source)),
        ({ code, error }) => (code === 0 ? resolve() : reject(error ?? new Error('the collector refused'))),
      );
    });
  return { send, close: () => exporter.shutdown() };
}

type Resource = ReadableSpan['resource'];

function resourceOf(attributes: Readonly<Record<string, string>>): Resource {
  const resource: Resource = {
    attributes: { ...attributes },
    merge: () => resource,
    getRawAttributes: () => Object.entries(attributes),
  };
  return resource;
}

const scope = { name: 'ops-loop' };

/** Pure: a span of ours as the exporter takes it. Nothing is recorded in this process, so nothing was dropped. */
function toReadable(span: Span, resource: Resource): ReadableSpan {
  const {
    trace_id: traceId,
    span_id: spanId,
    parent_span_id,
    name,
    start_us,
    end_us,
    error,
    attributes,
  } = span;
  const contextOf = (id: string) => ({ traceId, spanId: id, traceFlags: TraceFlags.SAMPLED });
  return {
    ...{ name, kind: SpanKind.INTERNAL, attributes, resource, instrumentationScope: scope, ended: true },
    ...{ links: [], events: [], droppedAttributesCount: 0, droppedEventsCount: 0, droppedLinksCount: 0 },
    spanContext: () => contextOf(spanId),
    ...(parent_span_id !== null && { parentSpanContext: contextOf(parent_span_id) }),
    ...{ startTime: toTime(start_us), endTime: toTime(end_us), duration: toTime(end_us - start_us) },
    status: { code: error ? SpanStatusCode.ERROR : SpanStatusCode.UNSET },
  };
}

/** Seconds and nanoseconds. */
const toTime = (us: number): [number, number] => [Math.floor(us / 1e6), (us % 1e6) * 1_000];
