/** SIGKILL at every gate of a worker: nothing is lost or stuck, and only idempotent steps run again by themselves. */
import { describe, expect, test } from 'vitest';
import { blocked, hold } from '../sql/engine-kit.js';
import { until } from '../support/until.js';
import type { Gate } from './child.js';
import { useScene } from './scene.js';

const scene = useScene();
const { engine, db } = scene;

/** How often it stands at the gate with one step of each kind, and how many effects were made by then. */
const deaths: { when: string; gate: Gate; times: number; effects: 0 | 1 }[] = [
  { when: 'after the claim', gate: 'claimed', times: 1, effects: 0 },
  { when: 'before the executor is called', gate: 'running', times: 2, effects: 0 },
  { when: 'in the executor, before its effect', gate: 'before effect', times: 2, effects: 0 },
  { when: 'in the executor, after its effect', gate: 'after effect', times: 2, effects: 1 },
  { when: 'after the executor has returned', gate: 'ran', times: 2, effects: 1 },
  { when: 'before the batch is written', gate: 'writing', times: 1, effects: 1 },
];

const succeeded = { step: 'succeeded', mission: 'succeeded', letters: [], successes: 1 };
const unknown = {
  step: 'failed',
  mission: 'failed',
  attempts: ['crashed'],
  letters: ['unknown'],
  successes: 0,
};

async function bothKinds(): Promise<{ post: string; wire: string }> {
  return { post: await scene.mission('post'), wire: await scene.mission('wire') };
}

/** Twice, because whoever recovers first must be the only one. */
async function recoverTwice(): Promise<{ requeued: number; failed: number }> {
  await scene.pastLeases();
  const both = await Promise.all([engine.port.recoverExpiredLeases(), engine.port.recoverExpiredLeases()]);
  const sum = (name: 'requeued_steps' | 'failed_steps') => both.reduce((n, one) => n + one[name], 0);
  return { requeued: sum('requeued_steps'), failed: sum('failed_steps') };
}

describe('a worker that is killed', () => {
  test.each(deaths)('$when: the idempotent step runs again, the other waits for a person', async (death) => {
    const missions = await bothKinds();
    const child = scene.child({ name: 'doomed', gate: death.gate });
    await child.at(death.gate, death.times);
    expect(await child.kill()).toEqual({ code: null, signal: 'SIGKILL' });

    expect(await recoverTwice()).toEqual({ requeued: 1, failed: 1 });
    await scene.survive();
    expect(await scene.story(missions.post)).toEqual({
      ...succeeded,
      attempts: ['crashed', 'succeeded'],
      effects: 1 + death.effects,
    });
    expect(await scene.story(missions.wire)).toEqual({ ...unknown, effects: death.effects });
  });

  test('after the batch was written, before it knew: nothing runs again', async () => {
    const missions = await bothKinds();
    const child = scene.child({ name: 'doomed', gate: 'written' });
    await child.at('written');
    await child.kill();
    expect(await recoverTwice()).toEqual({ requeued: 0, failed: 0 });
    await scene.survive();
    for (const mission of Object.values(missions))
      expect(await scene.story(mission)).toEqual({ ...succeeded, attempts: ['succeeded'], effects: 1 });
  });

  test('over and over: the third crash is the last', async () => {
    const mission = await scene.mission('post');
    for (let crash = 1; crash <= 3; crash++) {
      const child = scene.child({ name: 'doomed', gate: 'after effect' });
      await child.at('after effect');
      await child.kill();
      await recoverTwice();
      // What has crashed twice waits a little.
      await scene.pastLeases();
    }
    await scene.survive();
    expect(await scene.story(mission)).toEqual({
      step: 'failed',
      mission: 'failed',
      attempts: ['crashed', 'crashed', 'crashed'],
      letters: ['worker_crash'],
      successes: 0,
      effects: 3,
    });
  });

  test('leaves a step that a person may run again: a new series, its first letter closed', async () => {
    const mission = await scene.mission('wire');
    const child = scene.child({ name: 'doomed', gate: 'after effect' });
    await child.at('after effect');
    await child.kill();
    await recoverTwice();
    const [letter] = await engine.port.listDeadLetters();
    await engine.port.requeueDeadLetter({ id: letter?.id ?? '', reason: 'the receiver has seen nothing' });
    await scene.survive();
    expect(await scene.story(mission)).toEqual({
      ...succeeded,
      attempts: ['crashed', 'succeeded'],
      letters: ['unknown'],
      effects: 2,
    });
  });
});

/** Kills the worker while the database works for it; then the backend goes on alone, or is ended too. */
describe('a worker that is killed inside a call', () => {
  async function killWhileBlocked(
    child: ReturnType<typeof scene.child>,
    letGo: () => Promise<void>,
    ends: boolean,
  ) {
    const pids = await blocked(db, 1, 'the call of the worker');
    await child.kill();
    if (ends) for (const pid of pids) await db.sql('select pg_terminate_backend($1)', [pid]);
    await letGo();
    await until(
      async () =>
        (await db.sql("select from pg_stat_activity where application_name = 'doomed'")).length === 0,
      {
        what: 'the connections of the killed worker end',
      },
    );
  }

  async function killInBatch(ends: boolean) {
    const missions = await bothKinds();
    const child = scene.child({ name: 'doomed', gate: 'writing' });
    await child.at('writing');
    const letGo = await hold(db, 'select from ops_missions for update');
    child.open();
    await killWhileBlocked(child, letGo, ends);
    return missions;
  }

  test('the batch, which the database finishes: both are done, nothing runs again', async () => {
    const missions = await killInBatch(false);
    expect(await recoverTwice()).toEqual({ requeued: 0, failed: 0 });
    for (const mission of Object.values(missions))
      expect(await scene.story(mission)).toEqual({ ...succeeded, attempts: ['succeeded'], effects: 1 });
  });

  test('the batch, which is rolled back: as if it had not been sent', async () => {
    const missions = await killInBatch(true);
    expect(await recoverTwice()).toEqual({ requeued: 1, failed: 1 });
    await scene.survive();
    const attempts = ['crashed', 'succeeded'];
    expect(await scene.story(missions.post)).toEqual({ ...succeeded, attempts, effects: 2 });
    expect(await scene.story(missions.wire)).toEqual({ ...unknown, effects: 1 });
  });

  async function killInClaim(ends: boolean) {
    const mission = await scene.mission('post');
    await engine.setPolicy('worker_policy', { executors: { post: { rate: { count: 9, per_minutes: 60 } } } });
    await db.sql("insert into ops_limits (key) values ('executor:post')");
    const letGo = await hold(db, "select from ops_limits where key = 'executor:post' for update");
    await killWhileBlocked(scene.child({ name: 'doomed' }), letGo, ends);
    return mission;
  }

  test('the claim, which the database finishes: a lease that nobody knows of, recovered as a crash', async () => {
    const mission = await killInClaim(false);
    expect(await recoverTwice()).toEqual({ requeued: 1, failed: 0 });
    await scene.survive();
    expect(await scene.story(mission)).toEqual({
      ...succeeded,
      attempts: ['crashed', 'succeeded'],
      effects: 1,
    });
  });

  test('the claim, which is rolled back: no attempt has been made', async () => {
    const mission = await killInClaim(true);
    expect(await recoverTwice()).toEqual({ requeued: 0, failed: 0 });
    await scene.survive();
    expect(await scene.story(mission)).toEqual({ ...succeeded, attempts: ['succeeded'], effects: 1 });
  });
});
