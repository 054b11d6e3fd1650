/**
 * Webhooks over HTTP at a steady rate: a signed delivery each 5 ms, sent when it is due whether or not the ones before
 * were answered, so that a slow answer is not hidden by waiting for it. Sender and server share the machine.
 */
import { createHmac } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { createApp, startServer } from '../../local/server.js';
import { parseControlEnv } from '../../vercel/app/env.js';
import type { Figure, Measure } from './measures.js';
import type { Room } from './room.js';

const perSecond = 200;
const seconds = 10;
/** Connections are opened and code is compiled before anything counts. */
const warmUp = 200;
const secret = 'a secret of the benchmark';
const env = { GITHUB_WEBHOOK_SECRET: secret, OPS_LOG_LEVEL: 'silent' };
const silent = { info: () => {}, warn: () => {}, error: () => {} };

export const ingest: Measure = {
  name: `ingest of webhooks at ${perSecond} requests/s`,
  async run({ database: { port, pool } }: Room): Promise<Figure[]> {
    const app = createApp({ port, env: parseControlEnv(env), log: silent, now: () => new Date() });
    const server = await startServer({ app, host: '127.0.0.1', port: 0 });
    try {
      await Promise.all(Array.from({ length: warmUp }, (_, n) => deliver(server.url, `warm-${n}`)));
      const times = await Promise.all(
        Array.from({ length: perSecond * seconds }, async (_, n) => {
          await wait((n * 1_000) / perSecond);
          return await deliver(server.url, `due-${n}`);
        }),
      );
      const { rows } = await pool.query(
        "select count(*)::int as n from ops_agent_events where dedupe_key like 'github:due-%'",
      );
      if (rows[0]?.n !== times.length) throw new Error(`${rows[0]?.n} events of ${times.length} deliveries`);
      return figures(times.sort((a, b) => a - b));
    } finally {
      await server.close();
    }
  },
};

function figures(sorted: number[]): Figure[] {
  const at = (share: number) => Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 10) / 10;
  return [
    { name: `${ingest.name}, p50`, value: at(0.5), unit: 'ms' },
    { name: `${ingest.name}, p99`, value: at(0.99), unit: 'ms', ceiling: 50 },
  ];
}

/** Milliseconds until it was answered; throws unless it was stored. */
async function deliver(url: string, id: string): Promise<number> {
  const body = JSON.stringify({ action: 'opened', issue: { number: 1, title: id, body: 'x'.repeat(2_000) } });
  const started = performance.now();
  const response = await fetch(`${url}/api/ops/webhooks/github`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'X-GitHub-Event': 'issues',
      'X-GitHub-Delivery': id,
      'X-Hub-Signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
    },
    body,
  });
  await response.arrayBuffer();
  if (response.status !== 202) throw new Error(`a delivery was answered ${response.status}`);
  return performance.now() - started;
}
