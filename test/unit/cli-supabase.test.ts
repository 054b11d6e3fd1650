/** A worker process and other commands on a Supabase project, through the stand-in for PostgREST. */
import { once } from 'node:events';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { callCli, collectOutput, runCli, startCli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';
import { type Postgrest, startPostgrest } from '../support/postgrest.js';
import { until } from '../support/until.js';

const db = useDatabase();
let server: Postgrest;
let env: Record<string, string>;

beforeAll(async () => {
  server = await startPostgrest({ databaseUrl: db.adminUrl });
  env = {
    SUPABASE_URL: server.url,
    SUPABASE_SERVICE_ROLE_KEY: server.keys.secret,
    OPS_LOG_LEVEL: 'fatal',
  };
});
afterAll(() => server.close());

test('a worker names its host first, polls, works an event from decision to end, and stops on TERM', async () => {
  const child = startCli(['worker', '--name', 'w', '--reactive'], { env });
  onTestFinished(() => void child.kill('SIGKILL'));
  const read = collectOutput(child);
  await until(() => read().stdout.includes('No queued steps'), { what: 'the worker is idle' });
  expect(read().stdout.split('\n')[0]).toBe(`worker w, database Supabase API on ${new URL(server.url).host}`);
  await db.sql("insert into ops_agent_events (type, data) values ('demo:hello', '{}')");
  const done = () =>
    db.sql("select from ops_missions where status = 'succeeded'").then((rows) => rows.length);
  await until(done, { what: 'it found the event by itself' });
  child.kill('SIGTERM');
  expect(await once(child, 'close')).toEqual([0, null]);
});

test('heartbeat and doctor work, what needs SQL says so, and a wrong key ends a worker at once, shown nowhere', async () => {
  const wrong = { ...env, SUPABASE_SERVICE_ROLE_KEY: 'sb_secret_canary_canary' };
  const [beaten, migrated, verified, examined, refused] = await Promise.all([
    runCli(['heartbeat', '--json'], { env }),
    callCli(['migrate'], env),
    callCli(['verify-migrations'], env),
    callCli(['doctor', '--json'], env),
    runCli(['worker', '--once'], { env: wrong }),
  ]);
  expect(JSON.parse(beaten.stdout)).toMatchObject({ ok: true, rounds: 1 });
  for (const { code, stderr } of [migrated, verified])
    expect([code, stderr.includes('OPS_016'), stderr.includes('DATABASE_URL')]).toEqual([2, true, true]);
  const { checks } = JSON.parse(examined.stdout);
  for (const check of ['migrations', 'invariants'])
    expect(checks, check).toContainEqual(expect.objectContaining({ check, ok: true }));
  expect(refused).toMatchObject({ code: 69, stderr: expect.stringContaining('refused the key') });
  expect(refused.stdout + refused.stderr).not.toContain('canary');
});
