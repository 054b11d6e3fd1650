/**
 * A trace over the whole loop: a caller's context comes in with the HTTP request, goes on to what a step calls and starts,
 * and the spans arrive at a collector as OTLP. The collector is a stand-in: a server on loopback that reads OTLP's JSON.
 */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { readEnvironment } from '../../local/env.js';
import { http } from '../../local/executors/http/http.js';
import { minion } from '../../local/executors/minion/minion.js';
import { createRegistry } from '../../local/executors/registry.js';
import { createOtlpExporter } from '../../local/tracing/otlp.js';
import { tracedPort } from '../../local/tracing/traced-port.js';
import { createTracing, parseHeaders, startTracing } from '../../local/tracing/tracing.js';
import { startWorker } from '../../local/worker/worker.js';
import { createApp } from '../../vercel/app/app.js';
import { parseControlEnv } from '../../vercel/app/env.js';
import { useEngine } from '../sql/engine-kit.js';
import { runCli } from '../support/cli.js';
import { advanceClock } from '../support/clock.js';
import { until } from '../support/until.js';
import { apiKey, bearer, json } from '../unit/http-app.js';
import { recordingLog } from '../unit/worker-kit.js';
import { openReceiver, reply } from './receiver.js';

const engine = useEngine();
const collector = await openReceiver();
const service = await openReceiver();
const workspace = realpathSync(mkdtempSync(join(tmpdir(), 'ops-loop-traces-')));
afterAll(() => rmSync(workspace, { recursive: true }));

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const sender = `00-${traceId}-00f067aa0ba902b7-01`;

/** OTLP/HTTP, JSON encoding (opentelemetry-proto, trace.proto): ids in hex, times as decimal texts. */
const Value = z.object({ stringValue: z.string().optional(), intValue: z.number().optional() });
const OtlpSpan = z.object({
  traceId: z.string(),
  spanId: z.string(),
  parentSpanId: z.string().optional(),
  name: z.string(),
  kind: z.number(),
  startTimeUnixNano: z.string(),
  endTimeUnixNano: z.string(),
  attributes: z.array(z.object({ key: z.string(), value: Value })),
  status: z.object({ code: z.number() }),
});
const Otlp = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({ attributes: z.array(z.object({ key: z.string(), value: Value })) }),
      scopeSpans: z.array(z.object({ scope: z.object({ name: z.string() }), spans: z.array(OtlpSpan) })),
    }),
  ),
});
const arrived = () =>
  collector.received.flatMap(({ body }) =>
    Otlp.parse(JSON.parse(body)).resourceSpans.flatMap(({ scopeSpans }) =>
      scopeSpans.flatMap(({ spans }) => spans),
    ),
  );

const exporter = createOtlpExporter({
  endpoint: collector.origin,
  headers: { 'x-team': 'ops' },
  resource: { 'service.name': 'ops-loop' },
  timeoutMs: 2_000,
});
afterAll(() => exporter.close());

beforeEach(async () => {
  collector.answer(reply(200, {}));
  await engine.db.sql('delete from ops_span_cursor');
  await engine.port.takeSpans();
  await engine.setPolicy('worker_policy', {
    allowed_hosts: [service.origin],
    allowed_commands: ['env'],
    commands: { env: { program: 'printenv', arguments: ['TRACEPARENT'] } },
    workspace_root: workspace,
  });
  await engine.setPolicy('auto_approve', {
    enabled: true,
    allowed_step_kinds: ['http', 'minion'],
    max_risk_level: 'critical',
  });
  await engine.patterns({
    id: 'call',
    event_type: 'demo:*',
    template: {
      title: 'call and start',
      steps: [
        { key: 'call', kind: 'http', params: { url: `${service.origin}/x` } },
        { key: 'start', kind: 'minion', params: { command: 'env' } },
      ],
    },
  });
});

const app = () => {
  const { log } = recordingLog();
  const env = parseControlEnv({ OPS_API_KEY: apiKey });
  return createApp({ port: engine.port, env, log, now: () => new Date() });
};
const post = (headers: Record<string, string>) =>
  app().request('/api/ops/events', {
    method: 'POST',
    ...json({ type: 'demo:hello' }, { ...bearer(apiKey), ...headers }),
  });

/** Where the rule of two asks a person, one says yes; then a worker does it. */
async function work(): Promise<void> {
  await engine.beat();
  const [proposal] = await engine.port.listProposals({ status: 'pending' });
  if (proposal !== undefined) await engine.port.approveProposal({ id: proposal.id });
  const { log } = recordingLog();
  const registry = createRegistry([http, minion]);
  const worker = await startWorker({
    ...{ port: tracedPort(engine.port), log, registry, once: true, name: 'hand', print: () => {} },
  });
  await worker.done;
}

/** Ticks while time passes, until so many spans are there. */
async function exported(count: number) {
  const { log } = recordingLog();
  const { tick } = createTracing({ port: engine.port, log, send: exporter.send });
  return until(
    async () => {
      await advanceClock(engine.db.sql, '3 seconds');
      await tick();
      return arrived().length >= count && arrived();
    },
    { what: `${count} spans at the collector` },
  );
}

describe('a trace', () => {
  test('comes in with a request, reaches what steps call and start, and arrives as one tree', async () => {
    expect((await post({ traceparent: sender })).status).toBe(201);
    await work();
    const spans = await exported(8);
    const byName = (name: string) => spans.find((span) => span.name === name);
    const parents = Object.fromEntries(
      spans.map(({ name, parentSpanId }) => [
        name,
        spans.find(({ spanId }) => spanId === parentSpanId)?.name ?? parentSpanId,
      ]),
    );
    expect(parents).toEqual({
      'event demo:hello': '00f067aa0ba902b7',
      'reaction call': 'event demo:hello',
      'proposal reaction': 'reaction call',
      mission: 'proposal reaction',
      'step http': 'mission',
      'attempt http': 'step http',
      'step minion': 'mission',
      'attempt minion': 'step minion',
    });
    expect(new Set(spans.map((span) => span.traceId))).toEqual(new Set([traceId]));
    for (const { startTimeUnixNano, endTimeUnixNano } of spans)
      expect(BigInt(endTimeUnixNano) >= BigInt(startTimeUnixNano)).toBe(true);
    // What was called and what was started are children of the attempt that did it.
    expect(service.received[0]?.headers.traceparent).toBe(
      `00-${traceId}-${byName('attempt http')?.spanId}-01`,
    );
    const [started] = await engine.db.sql<{ said: string }>(
      "select result ->> 'stdout' as said from ops_mission_steps where kind = 'minion'",
    );
    expect(started?.said.trim()).toBe(`00-${traceId}-${byName('attempt minion')?.spanId}-01`);
    expect(collector.received[0]).toMatchObject({
      method: 'POST',
      path: '/v1/traces',
      headers: { 'x-team': 'ops' },
    });
  });

  test('comes in with a proposal as well', async () => {
    const template = {
      title: 'call',
      steps: [{ key: 'call', kind: 'http', params: { url: `${service.origin}/y` } }],
    };
    const sent = await app().request('/api/ops/proposals', {
      method: 'POST',
      ...json({ template }, { ...bearer(apiKey), traceparent: sender }),
    });
    expect(sent.status).toBe(201);
    await work();
    expect(service.received.at(-1)).toMatchObject({ path: '/y' });
    expect(service.received.at(-1)?.headers.traceparent).toContain(traceId);
  });

  test('begins with the event where the sender has none, and goes on to what is called', async () => {
    const { id } = (await (await post({ traceparent: 'nonsense' })).json()) as { id: string };
    await work();
    const spans = await exported(8);
    expect(new Set(spans.map((span) => span.traceId))).toEqual(new Set([id.replaceAll('-', '')]));
    expect(service.received[0]?.headers.traceparent).toContain(id.replaceAll('-', ''));
  });
});

test('a worker with an endpoint sends what has ended, the one that drains and exits as well', async () => {
  const { id } = await engine.emit('other:event');
  await engine.beat();
  await advanceClock(engine.db.sql, '3 seconds');
  await engine.port.takeSpans();
  await advanceClock(engine.db.sql, '3 seconds');
  const { code, stderr } = await runCli(['worker', '--once', '--name', 'drains'], {
    env: {
      ...{ DATABASE_URL: engine.db.url, OPS_LOG_LEVEL: 'warn', OPS_ENVIRONMENT: 'test' },
      OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.origin}/`,
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20abc',
    },
  });
  expect([code, stderr]).toEqual([0, '']);
  expect(arrived()).toMatchObject([{ name: 'event other:event', traceId: id.replaceAll('-', '') }]);
  expect(collector.received[0]).toMatchObject({
    path: '/v1/traces',
    headers: { authorization: 'Bearer abc' },
  });
});

describe('a collector that does not answer', () => {
  test('is tried again with the same spans, and a batch is dropped with a warning after six tries', async () => {
    collector.answer(reply(500));
    await engine.emit('other:event');
    await engine.beat();
    await advanceClock(engine.db.sql, '3 seconds');
    await engine.port.takeSpans();
    const { log, lines } = recordingLog();
    const sent: number[] = [];
    const tracing = createTracing({
      port: engine.port,
      log,
      send: async (spans) => {
        sent.push(spans.length);
        throw new Error('no collector');
      },
    });
    await until(
      async () => {
        await advanceClock(engine.db.sql, '3 seconds');
        await tracing.tick();
        return sent.length >= 6;
      },
      { what: 'six tries' },
    );
    expect(sent).toEqual([1, 1, 1, 1, 1, 1]);
    expect(lines.filter(({ event }) => event === 'trace.dropped')).toMatchObject([
      { spans: 1, error: 'no collector' },
    ]);
    await tracing.tick();
    expect(sent).toHaveLength(6);
  });

  test('makes the export fail, so that it is known', async () => {
    collector.answer(reply(400));
    await expect(exporter.send([])).rejects.toThrow();
  });
});

describe('without an endpoint', () => {
  test('nothing is started; headers are read as the specification writes them', async () => {
    const { log } = recordingLog();
    const env = readEnvironment({ variables: {}, directory: workspace, root: workspace });
    expect(await startTracing(env, { port: engine.port, log })).toBeUndefined();
    expect(parseHeaders('authorization=Bearer%20abc%3D, x=1')).toEqual({
      authorization: 'Bearer abc=',
      x: '1',
    });
    expect(parseHeaders('x=%FF')).toEqual({ x: '%FF' });
    expect(parseHeaders()).toEqual({});
  });
});
