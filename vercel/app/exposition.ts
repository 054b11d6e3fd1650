/** The text that Prometheus reads, from the rows of `ops_metrics()`. */
import type { Metric } from '../../supabase/client/schemas/rows.js';

/** Version 0.0.4 of the text format (prometheus.io/docs/instrumenting/exposition_formats). */
export const contentType = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * One registry per answer: the database has the numbers, this process keeps none. A value that is not known is NaN,
 * which no comparison of a rule holds for.
 */
export async function expose(rows: readonly Metric[]): Promise<string> {
  // Only this route needs the library.
  const { Counter, Gauge, Registry } = await import('prom-client');
  const registry = new Registry();
  for (const { name, type, help } of metricsOf(rows)) {
    const samples = rows.filter((row) => row.name === name);
    const settings = { name, help, labelNames: labelsOf(samples), registers: [registry] };
    if (type === 'counter') {
      const counter = new Counter(settings);
      for (const { labels, value } of samples) counter.inc(labels, value ?? 0);
    } else {
      const gauge = new Gauge(settings);
      for (const { labels, value } of samples) gauge.set(labels, value ?? Number.NaN);
    }
  }
  return registry.metrics();
}

/** A row of each metric; its type and its help are the same on all of them. */
const metricsOf = (rows: readonly Metric[]): readonly Metric[] => [
  ...new Map(rows.map((row) => [row.name, row])).values(),
];

const labelsOf = (samples: readonly Metric[]): string[] => [
  ...new Set(samples.flatMap(({ labels }) => Object.keys(labels))),
];
