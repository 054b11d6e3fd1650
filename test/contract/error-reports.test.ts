/** Error tracking: what is unexpected arrives at the DSN's host, with no secret and no event's data in it. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { projectRoot } from '../../local/env.js';
import { createErrorReports, describeError } from '../../supabase/client/error-reports.js';
import { OpsError } from '../../supabase/client/errors.js';
import { openDatabase } from '../../supabase/client/pg.js';
import { createApp } from '../../vercel/app/app.js';
import { parseControlEnv } from '../../vercel/app/env.js';
import { createAnswerer } from '../../vercel/app/function.js';
import { createHeartbeatApp } from '../../vercel/app/heartbeat-app.js';
import { collectOutput, startCli } from '../support/cli.js';
import { temporaryDirectory } from '../support/cluster.js';
import { createDatabase } from '../support/database.js';
import { until } from '../support/until.js';
import { apiKey, bearer, someId } from '../unit/http-app.js';
import { recordingLog } from '../unit/worker-kit.js';
import { openReceiver, reply } from './receiver.js';

const sentry = await openReceiver();
const dsn = `${sentry.origin.replace('//', '//publickey@')}/42`;
const canary = 'canary-of-an-event';
beforeEach(() => sentry.answer(reply(200, {})));

const Report = z.object({
  level: z.string(),
  tags: z.record(z.string(), z.string()),
  exception: z.object({
    values: z.array(
      z.object({
        type: z.string(),
        value: z.string(),
        stacktrace: z.object({ frames: z.array(z.unknown()) }),
      }),
    ),
  }),
});

/** Envelopes (Sentry's developer documentation): a header line, then a line about each item and the item. */
const reports = () =>
  sentry.received.map(({ path, body }) => {
    expect(path).toContain('/api/42/envelope/?');
    return Report.parse(JSON.parse(body.split('\n')[2] ?? ''));
  });

describe('a report', () => {
  test('names the error, its code and place; its text only where programs speak of themselves', async () => {
    const errors = createErrorReports({ dsn, environment: 'test', release: '1.2.3' });
    await errors?.report(new TypeError('x is not a function'), 'GET /api/ops/heartbeat');
    await errors?.report(new SyntaxError(`Unexpected token in ${canary}`), 'loop.failed');
    await errors?.flush();
    expect(reports()).toMatchObject([
      {
        level: 'error',
        tags: { code: 'OPS_018', where: 'GET /api/ops/heartbeat' },
        exception: { values: [{ type: 'TypeError', value: 'x is not a function' }] },
      },
      { exception: { values: [{ type: 'SyntaxError', value: 'internal error' }] } },
    ]);
    expect(reports()[0]?.exception.values[0]?.stacktrace.frames.length).toBeGreaterThan(0);
    const sent = sentry.received.map(({ body }) => body).join();
    expect(sent).not.toContain(canary);
    expect(JSON.parse(sentry.received[0]?.body.split('\n')[2] ?? '')).toMatchObject({
      environment: 'test',
      release: '1.2.3',
    });
    expect(sent).not.toContain('server_name');
  });

  test('is of the unexpected alone, and once a minute of the same', async () => {
    expect(describeError(new OpsError('OPS_001', 'away'))).toBeUndefined();
    expect(describeError(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }))).toBeUndefined();
    expect(describeError(Object.assign(new Error(canary), { code: '42P01' }))).toMatchObject({
      code: 'OPS_013',
      sqlstate: '42P01',
    });
    const errors = createErrorReports({ dsn });
    for (let n = 0; n < 3; n++) await errors?.report(new TypeError(`again ${n}`), 'loop.failed');
    await errors?.flush();
    expect(reports()).toHaveLength(1);
  });

  test('costs nothing without a DSN, and hurts nobody when its host is away', async () => {
    expect(createErrorReports({ dsn: undefined })).toBeUndefined();
    const errors = createErrorReports({ dsn: 'http://key@127.0.0.1:9/1' });
    await errors?.report(new TypeError('x'), 'here');
    await errors?.flush();
  });
});

test('the heartbeat endpoint reports a phase that failed, before it answers', async () => {
  const database = await createDatabase();
  // The pool of a function lives as long as its instance.
  const end =
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ops-loop vercel' and datname = current_database()";
  onTestFinished(() => database.sql(end).then(() => database.dispose()));
  await database.sql(`create or replace function public.ops_process_reactions(p_limit integer default 50) returns jsonb
    language plpgsql as $$ begin raise exception '${canary}' using errcode = '22012'; end $$`);
  const answer = createAnswerer(createHeartbeatApp, {
    ...{ DATABASE_URL: database.url, OPS_API_KEY: apiKey, SENTRY_DSN: dsn, OPS_LOG_LEVEL: 'silent' },
  });
  const request = new Request('http://localhost/api/ops/heartbeat', {
    method: 'POST',
    headers: bearer(apiKey),
  });
  expect((await answer(request)).status).toBe(200);
  expect(reports()).toMatchObject([
    { tags: { code: 'OPS_018', where: expect.stringContaining('phase reactions') } },
  ]);
  expect(sentry.received[0]?.body).not.toContain(canary);
  expect(sentry.received[0]?.body).not.toContain(apiKey);
});

test('any other route reports what it did not expect, by its pattern', async () => {
  const where: string[] = [];
  const { port, close } = openDatabase({ connectionString: 'postgres://nobody@127.0.0.1:9/none' });
  onTestFinished(close);
  const fails = async (): Promise<never> => {
    throw new TypeError(canary);
  };
  const app = createApp({
    ...{ port: { ...port, why: fails, seeSecrets: async () => ({}) }, now: () => new Date() },
    ...{ env: parseControlEnv({ OPS_API_KEY: apiKey }), log: recordingLog().log },
    reportError: async (_, place) => void where.push(place),
  });
  const answer = await app.request(`/api/ops/why/${someId}`, { headers: bearer(apiKey) });
  expect([answer.status, (await answer.text()).includes(canary)]).toEqual([500, false]);
  expect(where).toEqual(['GET /api/ops/why/:id']);
});

describe('a worker', () => {
  const start = async (variables: Record<string, string>) => {
    const database = await createDatabase();
    const env = { DATABASE_URL: database.url, SENTRY_DSN: dsn, OPS_LOG_LEVEL: 'fatal', ...variables };
    const child = startCli(['worker', '--name', 'watched'], { env });
    onTestFinished(async () => {
      child.kill('SIGKILL');
      await database.dispose();
    });
    return { child, database, read: collectOutput(child) };
  };

  test('reports a loop that fails', async () => {
    const { child, database, read } = await start({ OPS_LOG_LEVEL: 'error' });
    await until(() => read().stdout.includes('No queued steps'), { what: 'the worker is idle' });
    await database.sql('drop function public.ops_claim_steps; notify ops_steps');
    await until(() => sentry.received.length > 0, { what: 'a report' });
    expect(reports()[0]).toMatchObject({ tags: { code: 'OPS_018', where: 'loop.failed OPS_013' } });
    child.kill('SIGTERM');
    expect(await once(child, 'close')).toEqual([0, null]);
  });

  test('reports what ends it, and says it', async () => {
    const home = await temporaryDirectory('uncaught');
    const file = join(home, 'late.mjs');
    writeFileSync(
      file,
      `import { defineExecutor } from '${projectRoot}/local/executors/contract.ts';
       import { z } from '${projectRoot}/node_modules/zod/index.js';
       setTimeout(() => { throw new RangeError('too late') }, 700);
       export default defineExecutor({ name: 'late', params: z.object({}), traits: { idempotent: true, risk: 'low' }, run: () => 1 });`,
    );
    const { child, read } = await start({ OPS_EXECUTORS: file });
    expect(await once(child, 'close')).toEqual([1, null]);
    expect(read().stderr).toContain('RangeError: too late');
    expect(reports()).toMatchObject([
      {
        tags: { where: 'worker: uncaught' },
        exception: { values: [{ type: 'RangeError', value: 'too late' }] },
      },
    ]);
  });
});
