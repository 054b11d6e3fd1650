/**
 * Exports what has ended as spans. The engine hands each span out once and its cursor moves with that, so a batch is held
 * here until the collector has it: it is tried again with every tick, and dropped with a warning after `maxTries`. What
 * comes after waits in the database. So a span is sent at most once if a process ends with a batch in hand, and more than
 * once only when a collector took a batch and did not say so.
 */
import type { Logger } from 'pino';
import { fromDatabase } from '../../supabase/client/errors.js';
import type { OpsPort } from '../../supabase/client/port.js';
import type { Span } from '../../supabase/client/schemas/rows.js';
import type { Environment } from '../env.js';
import { type Clock, repeat, systemClock } from '../worker/clock.js';
import { write } from '../worker/log.js';
import type { SendSpans } from './otlp.js';

/** How often a process asks for what has ended. */
const exportEveryMs = 5_000;
/** Half a minute of a collector that restarts. */
const maxTries = 6;
/** Events per call; a megabyte or two of spans. */
const batchEvents = 1_000;
/** A collector on the way out gets this long. */
const goodbyeMs = 2_000;
const sendTimeoutMs = 10_000;

export type TracingDeps = {
  port: Pick<OpsPort, 'takeSpans'>;
  log: Logger;
  send: SendSpans;
};
export type Tracing = {
  /** One round: sends until nothing more has ended, or the collector does not answer. Never throws. */
  tick(): Promise<void>;
  /** Ends the rounds; a batch in hand is tried once more, for two seconds. */
  stop(): Promise<void>;
};

/** The rounds without a timer. */
export function createTracing({ port, log, send }: TracingDeps): Pick<Tracing, 'tick'> {
  let held: Span[] = [];
  let tries = 0;
  const sendHeld = async (): Promise<boolean> => {
    if (held.length === 0) return true;
    try {
      await send(held);
    } catch (error) {
      if (++tries < maxTries) return false;
      const why = error instanceof Error ? error.message : String(error);
      write(log, 'warn', { event: 'trace.dropped', spans: held.length, tries, error: why });
    }
    tries = 0;
    held = [];
    return true;
  };
  const tick = async (): Promise<void> => {
    try {
      while (await sendHeld()) {
        const { spans, more } = await port.takeSpans({ limit: batchEvents });
        held = spans;
        if (spans.length === 0 && !more) return;
      }
    } catch (error) {
      // The database being away is the worker's to report; the spans stay where they are.
      const { code, message } = fromDatabase(error);
      if (code !== 'OPS_001') write(log, 'warn', { event: 'trace.failed', code, error: message });
    }
  };
  return { tick };
}

/** Starts exporting when `OTEL_EXPORTER_OTLP_ENDPOINT` is set; otherwise nothing is loaded and nothing is asked. */
export async function startTracing(
  env: Environment,
  { port, log }: Omit<TracingDeps, 'send'>,
  clock: Clock = systemClock,
): Promise<Tracing | undefined> {
  const endpoint = env.OTEL_EXPORTER_OTLP_ENDPOINT;
  if (endpoint === undefined) return undefined;
  const { createOtlpExporter } = await import('./otlp.js');
  const exporter = createOtlpExporter({
    endpoint,
    headers: parseHeaders(env.OTEL_EXPORTER_OTLP_HEADERS),
    resource: { 'service.name': 'ops-loop', ...environmentName(env) },
    timeoutMs: sendTimeoutMs,
  });
  const { tick } = createTracing({ port, log, send: exporter.send });
  let running: Promise<void> | undefined;
  const once = (): Promise<void> => {
    running ??= tick().finally(() => {
      running = undefined;
    });
    return running;
  };
  const cancel = repeat(clock, () => exportEveryMs, once);
  const stop = async (): Promise<void> => {
    cancel();
    const late = new Promise<void>((resolve) => clock.after(goodbyeMs, resolve));
    await Promise.race([once().then(() => exporter.close()), late]);
  };
  return { tick: once, stop };
}

const environmentName = ({ OPS_ENVIRONMENT }: Environment): Record<string, string> =>
  OPS_ENVIRONMENT === undefined ? {} : { 'deployment.environment.name': OPS_ENVIRONMENT };

/** `name=value,name=value`, percent-encoded as in W3C Baggage (OpenTelemetry, OTLP exporter configuration). */
export function parseHeaders(text = ''): Record<string, string> {
  const pairs = text.split(',').map((pair) => pair.split(/=(.*)/s).map((part) => part.trim()));
  return Object.fromEntries(
    pairs.flatMap(([name, value]) => (name && value !== undefined ? [[name, decoded(value)]] : [])),
  );
}

/** What is no percent-encoded UTF-8 is taken as it stands. */
function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
