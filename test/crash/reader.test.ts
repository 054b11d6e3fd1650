/** A worker goes on when nobody reads its output any more: its steps are not what it prints. */
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { startCli } from '../support/cli.js';
import { until } from '../support/until.js';
import { useScene } from './scene.js';

const scene = useScene();
const executors = fileURLToPath(new URL('./executors.ts', import.meta.url));

test('whose log agent is gone runs on, says goodbye to the database and ends with 0', {
  timeout: 90_000,
}, async () => {
  const child = startCli(['worker'], {
    env: {
      DATABASE_URL: scene.db.url,
      OPS_WORKER_NAME: 'unheard',
      OPS_EXECUTORS: executors,
      OPS_LOG_LEVEL: 'debug',
    },
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const present = async () =>
    (await scene.db.sql("select from ops_workers where name = 'unheard'")).length === 1;
  await until(present, { what: 'the worker to register', deadlineMs: 60_000 });
  child.stdout?.destroy();
  child.stderr?.destroy();
  for (let n = 0; n < 2; n++) {
    const mission = await scene.mission('post', {});
    await until(async () => (await scene.story(mission)).step === 'succeeded', { what: `step ${n} runs` });
  }
  child.kill('SIGTERM');
  await until(() => child.exitCode !== null || child.signalCode !== null, { what: 'the worker ends' });
  expect(child.exitCode).toBe(0);
  expect(await present()).toBe(false);
});
