/** `ops-loop smoke` against a real control plane, with and without a worker, and against what should not pass. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type RunningServer, socketAddress, startServer } from '../../local/server.js';
import { askAt } from '../../local/smoke/ask.js';
import { type Check, smoke } from '../../local/smoke/smoke.js';
import { startWorker } from '../../local/worker/worker.js';
import { openDatabase } from '../../supabase/client/pg.js';
import { createApp } from '../../vercel/app/app.js';
import { parseControlEnv } from '../../vercel/app/env.js';
import { runCli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';
import { apiKey } from '../unit/http-app.js';
import { recordingLog } from '../unit/worker-kit.js';

const db = useDatabase();
const { log } = recordingLog();
let engine: ReturnType<typeof openDatabase>;
let server: RunningServer;
beforeAll(async () => {
  engine = openDatabase({ connectionString: db.url });
  const env = parseControlEnv({ OPS_API_KEY: apiKey });
  const app = createApp({ port: engine.port, env, log, now: () => new Date(), clientAddress: socketAddress });
  server = await startServer({ app, host: '127.0.0.1', port: 0 });
});
afterAll(async () => {
  await server.close();
  await engine.close();
});

async function ask(url: string, waitMs = 30_000) {
  const checks = await smoke({ ask: askAt(new URL(url)), key: apiKey, waitMs });
  return { checks, results: Object.fromEntries(checks.map(({ check, result }) => [check, result])) };
}
const everything = [
  'health',
  'ready',
  'no key',
  'wrong key',
  'Bearer undefined',
  'event',
  'decision',
  'proposal',
  'mission',
];

test('a deployment with a worker passes every check, and leaves one event and one dry run', async () => {
  const worker = await startWorker({ port: engine.port, log, name: 'smoked', print: () => {} });
  onTestFinished(async () => void (await worker.stop()));
  const { code, stdout, stderr } = await runCli(['smoke', server.url, '--json'], {
    env: { OPS_API_KEY: apiKey },
  });
  const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: Check[] };
  expect(
    checks.map(({ check, result }) => [check, result]),
    stdout + stderr,
  ).toEqual(everything.map((check) => [check, 'ok']));
  expect([code, ok]).toEqual([0, true]);
  expect(checks[2]?.detail).toBe('refused; no secret opens GET /api/ops/heartbeat there');
  expect(await db.sql("select type from ops_agent_events where type like 'smoke:%'")).toHaveLength(1);
  expect(await db.sql('select dry_run, status from ops_mission_steps')).toEqual([
    { dry_run: true, status: 'succeeded' },
  ]);
});

test('without a worker the mission is said to wait for one, and is cancelled', async () => {
  const { results, checks } = await ask(server.url, 200);
  expect(results).toMatchObject({ decision: 'ok', proposal: 'ok', mission: 'failed' });
  expect(checks.at(-1)?.detail).toContain('no worker is alive; start one with npm run worker');
  expect(await db.sql("select status from ops_missions where status <> 'succeeded'")).toEqual([
    { status: 'cancelled' },
  ]);
});

test('where policy approves nothing, whoever has the key does', async () => {
  await db.sql(`update ops_policy set value = '{"enabled": false}' where key = 'auto_approve'`);
  const { results, checks } = await ask(server.url, 200);
  expect(results, JSON.stringify(checks)).toMatchObject({ proposal: 'ok' });
});

test('a door that stands open fails, and what rests on a check that failed is skipped', async () => {
  const open = createServer((_, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"status":"ok"}'),
  );
  await new Promise<void>((resolve) => open.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void open.close());
  const { results, checks } = await ask(`http://127.0.0.1:${(open.address() as AddressInfo).port}`);
  expect(results).toMatchObject({
    'no key': 'failed',
    'wrong key': 'failed',
    'Bearer undefined': 'failed',
    event: 'failed',
    decision: 'skipped',
  });
  expect(checks[2]?.detail).toBe('GET /api/ops/status was not refused: it answered 200');
});

test('where nothing answers one line says so, and the exit code is 1', async () => {
  const { results, checks } = await ask('http://127.0.0.1:9');
  expect([results.health, results.mission]).toEqual(['failed', 'skipped']);
  expect(checks[0]?.detail).toContain('no answer from http://127.0.0.1:9');
  const text = await runCli(['smoke', 'http://127.0.0.1:9'], { env: { OPS_API_KEY: apiKey } });
  expect([text.code, text.stdout]).toEqual([1, expect.stringMatching(/^health +failed +\d+ +no answer/m)]);
});
