/** A worker that was frozen for over a minute, and whose name another has by now, learns of it when it wakes. */
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { startWorker } from '../../local/worker/worker.js';
import { collectOutput, startCli } from '../support/cli.js';
import { until } from '../support/until.js';
import { registry, useScene } from './scene.js';

const scene = useScene();
const { engine, db } = scene;
const executors = fileURLToPath(new URL('./executors.ts', import.meta.url));

function startWorkerCli() {
  const child = startCli(['worker'], {
    env: {
      DATABASE_URL: db.url,
      OPS_WORKER_NAME: 'told',
      OPS_EXECUTORS: executors,
      OPS_STEP_LEASE_MINUTES: '0.05',
      OPS_SHUTDOWN_GRACE_SECONDS: '1',
    },
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  return { child, read: collectOutput(child) };
}

const holder = () =>
  db.one<{ instance: string; pid: number }>("select instance, pid from ops_workers where name = 'told'");
const story = async (mission: string) => (await scene.story(mission)).step;

test.each([
  ['while it ran a step', true],
  ['while it was idle', false],
])(
  'frozen %s: it stops with code 3 and says who has its name, which works on',
  { timeout: 150_000 },
  async (_, busy) => {
    const mission = await scene.mission('post', busy ? { next: 'wait' } : {});
    const { child, read } = startWorkerCli();
    const reached = busy ? 'running' : 'succeeded';
    await until(async () => (await story(mission)) === reached, {
      what: `the step is ${reached}`,
      deadlineMs: 60_000,
    });
    child.kill('SIGSTOP');
    await scene.pastLeases();
    const second = await startWorker({
      ...{ port: engine.port, log: pino({ level: 'silent' }), name: 'told', registry, print: () => {} },
    });
    onTestFinished(async () => void (await second.stop()));
    const { instance } = await holder();
    child.kill('SIGCONT');
    await until(() => child.exitCode !== null, { what: 'the first worker ends', deadlineMs: 60_000 });
    expect(child.exitCode).toBe(3);
    expect(read().stderr).toMatch(
      new RegExp(`OPS_006  the worker name told was given to process ${process.pid} on host`),
    );
    expect(read().stderr).toContain('--name');
    expect(await holder()).toMatchObject({ instance, pid: process.pid });
    const next = await scene.mission('post');
    await until(async () => (await story(next)) === 'succeeded', { what: 'the second worker works on' });
  },
);
