/** A worker that dies while openclaw runs: nobody knows how far the agent came, so a person decides. */
import { fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { openclaw } from '../../local/executors/openclaw/openclaw.js';
import { createRegistry } from '../../local/executors/registry.js';
import { startWorker } from '../../local/worker/worker.js';
import { useEngine } from '../sql/engine-kit.js';
import { advanceClock } from '../support/clock.js';
import { makeBench } from '../support/openclaw/kit.js';
import { envelope } from '../support/openclaw/shapes.js';
import { processesNaming } from '../support/processes.js';
import { until } from '../support/until.js';

const workerFile = fileURLToPath(new URL('../support/openclaw/worker.ts', import.meta.url));
const engine = useEngine();
const { db } = engine;

test('the step of a killed worker is unknown, is not run again, and its openclaw is ended', async () => {
  const { port } = engine;
  const bench = await makeBench();
  onTestFinished(() => bench.remove());
  const workspace_root = bench.workspace;
  await engine.setPolicy('worker_policy', { allowed_openclaw_subcommands: ['agent exec'], workspace_root });
  await bench.script({ waits: true });
  const { settings } = bench;
  const argument = JSON.stringify({ url: db.url, settings });
  // Who is killed leaves its files: they go with the bench.
  const env = { ...process.env, TMPDIR: bench.temporary };
  const doomed = fork(workerFile, [argument], { execArgv: ['--import', 'tsx'], env });
  onTestFinished(() => void doomed.kill('SIGKILL'));
  const ended = new Promise((resolve) => doomed.once('exit', resolve));
  const mission = await engine.mission([
    { key: 'one', kind: 'openclaw', params: { mode: 'exec', message: 'go' } },
  ]);
  await until(() => existsSync(join(bench.folder, 'said')), { what: 'openclaw to run' });
  doomed.kill('SIGKILL');
  await ended;

  await advanceClock(db.sql, '2 minutes');
  expect(await port.recoverExpiredLeases()).toMatchObject({ requeued_steps: 0, failed_steps: 1 });
  await bench.script({ out: envelope() });
  const log = pino({ level: 'silent' });
  const survivor = await startWorker({
    ...{ port, log, name: 'survivor', once: true, print: () => {} },
    ...{ registry: createRegistry([openclaw]), secrets: (name: string) => settings[name] },
  });
  await survivor.done;
  expect(await bench.calls()).toEqual([]);
  expect(await engine.step(mission, 'one')).toMatchObject({ status: 'failed', crash_count: 1 });
  expect(await db.sql('select cause, state from ops_step_dead_letters')).toMatchObject([
    { cause: 'unknown' },
  ]);
  await until(async () => (await processesNaming(bench.folder)).length === 0, {
    what: 'openclaw to be ended',
  });

  // The person has looked, and wants it done.
  await db.sql(
    "update ops_mission_steps set status = 'queued', reserved_at = null, lease_expires_at = null, failure_count = 0, last_error = null",
  );
  const again = await startWorker({
    ...{ port, log, name: 'again', once: true, print: () => {} },
    ...{ registry: createRegistry([openclaw]), secrets: (name: string) => settings[name] },
  });
  await again.done;
  const step = await engine.step(mission, 'one');
  expect(step).toMatchObject({ status: 'succeeded', result: { text: 'The tests pass.', cost_usd: 0.00038 } });
  const runs = await db.sql('select status, meta from ops_action_runs order by started_at');
  expect(runs).toMatchObject([
    { status: 'crashed' },
    { status: 'succeeded', meta: { usd: 0.00038, tokens: 128 } },
  ]);
});

test('what comes from events stands in its input, and nowhere else that matters', async () => {
  const propose = (params: object) =>
    engine.port.createProposal({
      template: {
        title: 'x',
        steps: [{ kind: 'openclaw', params: { mode: 'exec', message: 'm', ...params } }],
      },
    });
  const data = '{{event.data ?? null}}';
  expect(await propose({ input: data })).toMatchObject({ created: true });
  for (const params of [{ message: data }, { tools: [data] }, { directory: data }, { model: data }])
    await expect(propose(params)).rejects.toMatchObject({ code: 'OPS_004' });
});
