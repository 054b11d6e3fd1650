/**
 * Webhooks over HTTP at a steady rate: a signed delivery each 5 ms, sent when it is due whether or not the ones before
 * were answered, so that a slow answer is not hidden by waiting for it. Sender and server share the machine. Then
 * beats over HTTP, one after the other.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { readEnvironment } from '../../env.js';
import { createApp, startServer } from '../../server.js';
import { quantile } from '../figure.js';
import { expectCount, mark, type Room } from '../room.js';
import type { Measure } from './measure.js';

const perSecond = 200;
/** Connections are opened and code is compiled before anything counts. */
const warmUp = 200;
const secret = randomBytes(24).toString('hex');
const key = randomBytes(24).toString('hex');
const silent = { info: () => {}, warn: () => {}, error: () => {} };

export const ingest: Measure = {
  name: `ingest of webhooks at ${perSecond} requests/s`,
  async run({ database, sizes }: Room) {
    const variables = { GITHUB_WEBHOOK_SECRET: secret, OPS_API_KEY: key, OPS_LOG_LEVEL: 'silent' };
    const env = { ...readEnvironment({ variables }), webhooks: {} };
    const app = createApp({ port: database.port, env, log: silent, now: () => new Date() });
    const server = await startServer({ app, host: '127.0.0.1', port: 0 });
    const count = Math.ceil(perSecond * sizes.ingestSeconds);
    try {
      await Promise.all(
        Array.from({ length: Math.min(warmUp, count) }, (_, n) => deliver(server.url, `warm-${n}`)),
      );
      const times = await Promise.all(
        Array.from({ length: count }, async (_, n) => {
          await wait((n * 1_000) / perSecond);
          return await deliver(server.url, `due-${n}`);
        }),
      );
      await expectCount(database, stored, count);
      const beats: number[] = [];
      for (let n = 0; n < sizes.beats; n++) beats.push(await beat(server.url));
      return [
        { name: `${this.name}, p50`, value: quantile(times, 0.5), unit: 'ms' },
        { name: `${this.name}, p99`, value: quantile(times, 0.99), unit: 'ms' },
        { name: 'beat over HTTP, p95', value: quantile(beats, 0.95), unit: 'ms' },
      ];
    } finally {
      await server.close();
    }
  },
};

const stored = `select count(*) as n from public.ops_agent_events where dedupe_key like 'github:${mark}-due-%'`;

/** Milliseconds until it was answered; throws unless it was stored. */
async function deliver(url: string, id: string): Promise<number> {
  const body = JSON.stringify({ action: 'opened', issue: { number: 1, title: id, body: 'x'.repeat(2_000) } });
  const signature = createHmac('sha256', secret).update(body).digest('hex');
  return await timed(`${url}/api/ops/webhooks/github`, 202, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'X-GitHub-Event': 'issues',
      'X-GitHub-Delivery': `${mark}-${id}`,
      'X-Hub-Signature-256': `sha256=${signature}`,
    },
    body,
  });
}

const beat = (url: string): Promise<number> =>
  timed(`${url}/api/ops/heartbeat`, 200, { method: 'POST', headers: { Authorization: `Bearer ${key}` } });

async function timed(url: string, status: number, request: RequestInit): Promise<number> {
  const started = performance.now();
  const response = await fetch(url, request);
  await response.arrayBuffer();
  if (response.status !== status) throw new Error(`${url} answered ${response.status}`);
  return performance.now() - started;
}
