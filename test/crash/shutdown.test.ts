/** TERM to the real command: it ends by itself within its grace + 5 s, whatever executors and the database do. */
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { readEntry } from '../../local/process/table.js';
import { blocked, hold } from '../sql/engine-kit.js';
import { collectOutput, startCli } from '../support/cli.js';
import { until } from '../support/until.js';
import { databaseBehindProxy } from './proxied.js';
import { useScene } from './scene.js';

const scene = useScene();
const { engine, db } = scene;

const graceSeconds = 0.5;
const limitMs = (graceSeconds + 5) * 1_000;
const executors = fileURLToPath(new URL('./executors.ts', import.meta.url));

type Options = { env?: Record<string, string>; cwd?: string };

function startWorkerCli({ env = {}, cwd }: Options = {}) {
  const settings = {
    DATABASE_URL: db.url,
    OPS_WORKER_NAME: 'told',
    OPS_EXECUTORS: executors,
    OPS_SHUTDOWN_GRACE_SECONDS: String(graceSeconds),
    ...env,
  };
  const child = startCli(['worker'], { env: settings, ...(cwd && { cwd }) });
  const read = collectOutput(child);
  onTestFinished(() => void child.kill('SIGKILL'));
  return { child, read, term: () => endedBy(child, 'SIGTERM') };
}

/** How it ended, and after how many milliseconds. Its output may stay open: a grandchild holds it. */
async function endedBy(child: ChildProcess, signal: NodeJS.Signals) {
  const start = performance.now();
  child.kill(signal);
  await until(() => child.exitCode !== null || child.signalCode !== null, {
    what: `the worker ends after ${signal}`,
  });
  return { code: child.exitCode, ms: performance.now() - start };
}

const inTime = { code: 0, ms: expect.toSatisfy((ms: number) => ms <= limitMs, `at most ${limitMs} ms`) };

const effects = (count: number) =>
  until(() => scene.traces().filter(({ what }) => what === 'effect').length === count, {
    what: `${count} steps have had their effect`,
  });

/** The process that a step with `next: 'leave'` leaves in a session of its own. */
async function grandchild(): Promise<number> {
  const isIt = ({ what }: { what: string }) => what === 'grandchild';
  const found = () => scene.traces().find(isIt);
  const { pid } = await until(found, { what: 'the grandchild runs' });
  onTestFinished(() => void (isAlive(pid) && process.kill(pid, 'SIGKILL')));
  return pid;
}

/** A zombie is not: whoever adopted it may take a moment to ask for its exit. */
const isAlive = (pid: number): boolean => readEntry(pid)?.ended === false;

describe('TERM', () => {
  test('gives back what was claimed and has not started, with no attempt counted', async () => {
    const missions = [await scene.mission('post'), await scene.mission('wire')];
    const child = scene.child({ name: 'told', gate: 'claimed', graceSeconds: 5 });
    await child.at('claimed');
    child.send('SIGTERM');
    await child.logged('worker.draining');
    child.open();
    expect(await child.exit).toEqual({ code: 0, signal: null });
    for (const mission of missions) {
      expect(await scene.story(mission)).toMatchObject({
        step: 'queued',
        attempts: ['released'],
        effects: 0,
      });
      const [step] = await engine.steps(mission);
      expect(step).toMatchObject({ failure_count: 0, crash_count: 0, lease_expires_at: null });
    }
    expect(await db.sql("select from ops_workers where name = 'told'")).toEqual([]);
  });

  test('after the grace ends what runs: idempotent steps are given back, of others nobody knows', async () => {
    const missions = {
      post: await scene.mission('post', { next: 'wait' }),
      wire: await scene.mission('wire', { next: 'wait' }),
    };
    const { term, read } = startWorkerCli();
    await effects(2);
    expect(await term(), read().stderr).toEqual(inTime);
    expect(scene.traces().filter(({ what }) => what === 'ended')).toHaveLength(2);
    expect(await scene.story(missions.post)).toMatchObject({ step: 'queued', attempts: ['released'] });
    expect(await scene.story(missions.wire)).toMatchObject({
      step: 'failed',
      attempts: ['unknown'],
      letters: ['unknown'],
    });
  });

  test('gives up on executors that ignore it; what they started in a session of its own ends with the worker', async () => {
    const missions = [
      await scene.mission('post', { next: 'ignore' }),
      await scene.mission('post', { next: 'leave' }),
    ];
    const { term, read } = startWorkerCli();
    await effects(2);
    const pid = await grandchild();
    expect(await term(), read().stderr).toEqual(inTime);
    expect(read().stderr.match(/attempt\.given_up/g)).toHaveLength(2);
    for (const mission of missions)
      expect(await scene.story(mission)).toMatchObject({ step: 'queued', attempts: ['released'] });
    expect(isAlive(pid)).toBe(false);
  });

  test('ends in time while the database is silent and an executor ignores it; the lease is left to run out', async () => {
    const { url, proxy } = await databaseBehindProxy(db.url);
    const mission = await scene.mission('post', { next: 'ignore' });
    const { term, read } = startWorkerCli({ env: { DATABASE_URL: url } });
    await effects(1);
    proxy.setWeather({ kind: 'silence' });
    expect(await term(), read().stderr).toEqual(inTime);
    expect(read().stderr).toContain('writeback.dropped');
    await scene.pastLeases();
    await scene.survive();
    expect(await scene.story(mission)).toMatchObject({
      step: 'succeeded',
      attempts: ['crashed', 'succeeded'],
    });
  });

  test('while it still waits for its database: refused', async () => {
    const { url, proxy } = await databaseBehindProxy(db.url);
    await proxy.close();
    const { term, read } = startWorkerCli({ env: { DATABASE_URL: url } });
    await until(() => read().stderr.includes('database.away'), {
      what: 'the worker waits',
    });
    expect(await term(), read().stderr).toEqual(inTime);
    expect(read().stderr).toContain('worker.stopped');
  });

  test('while it still waits for its database: no answer', async () => {
    const letGo = await hold(db, 'lock table ops_workers in exclusive mode');
    const { term, read } = startWorkerCli();
    await blocked(db, 1, 'the registration of the worker');
    const ended = await term();
    await letGo();
    expect(ended, read().stderr).toEqual(inTime);
  });
});

test('KILL: what it had started is ended by the next worker of this machine, before the step runs again', async () => {
  const mission = await scene.mission('post', { next: 'leave' });
  const { child } = startWorkerCli();
  const pid = await grandchild();
  child.kill('SIGKILL');
  await until(() => child.signalCode !== null, { what: 'the worker is killed' });
  await scene.pastLeases();
  await scene.survive();
  expect(isAlive(pid)).toBe(false);
  expect(await scene.story(mission)).toMatchObject({ step: 'succeeded', attempts: ['crashed', 'succeeded'] });
});

test('a second signal ends a worker that waits for its database at once', async () => {
  const { url, proxy } = await databaseBehindProxy(db.url);
  proxy.setWeather({ kind: 'silence' });
  const env = { DATABASE_URL: url, OPS_SHUTDOWN_GRACE_SECONDS: '60' };
  const { child, term } = startWorkerCli({ env });
  await until(() => proxy.open() > 0, { what: 'the worker connects' });
  child.kill('SIGINT');
  expect(await term()).toMatchObject({ code: expect.toSatisfy((code) => code === 143 || code === 130) });
});

describe('HUP', () => {
  test('reads log level and policies again, and never ends it, whatever it finds', async () => {
    const home = mkdtempSync(join(tmpdir(), 'ops-loop-hup-'));
    onTestFinished(() => rmSync(home, { recursive: true, force: true }));
    const setLevel = (level: string) => writeFileSync(join(home, '.env'), `OPS_LOG_LEVEL=${level}\n`);
    const logged = (what: string, times = 1) =>
      until(() => read().stderr.split(what).length > times, {
        what: `the worker logs ${what}`,
      });
    setLevel('info');
    const { child, read, term } = startWorkerCli({ cwd: home });
    await logged('worker.started');
    await scene.mission('post');
    await effects(1);
    expect(read().stderr).not.toContain('lease.claimed');

    setLevel('debug');
    child.kill('SIGHUP');
    await logged('worker.reloaded');
    await scene.mission('post');
    await logged('lease.claimed');
    await logged('attempt.succeeded');

    setLevel('loud');
    child.kill('SIGHUP');
    await logged('reload failed');
    await scene.mission('post');
    await logged('attempt.succeeded', 2);
    expect(await term()).toEqual(inTime);
  });
});
