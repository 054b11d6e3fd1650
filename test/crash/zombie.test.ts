/** A worker that is frozen past its lease and wakes up: what it still writes changes no row, and it works on. */
import { describe, expect, test } from 'vitest';
import type { ClaimedStep } from '../../supabase/client/schemas/rows.js';
import { ref } from '../sql/engine-kit.js';
import { until } from '../support/until.js';
import type { Gate } from './child.js';
import type { Child } from './child-kit.js';
import { databaseBehindProxy } from './proxied.js';
import { useScene } from './scene.js';

const scene = useScene();
const { engine, db } = scene;

async function claimByOther(worker = 'other'): Promise<ClaimedStep> {
  const [step] = await engine.port.claimSteps({ worker, executors: ['post'], leaseSeconds: 600 });
  if (step === undefined) throw new Error('there was no step to claim');
  return step;
}

/** The zombie has lost its lease and says so, nothing of the mission has changed, and it does the next step. */
async function expectHarmless(zombie: Child, mission: string, before: string[]): Promise<void> {
  expect(await zombie.logged('lease.lost')).toMatchObject({ code: 'OPS_006', lease_epoch: 1 });
  const next = await scene.mission('post');
  await until(async () => (await scene.story(next)).step === 'succeeded', { what: 'the zombie works on' });
  expect(await scene.story(next)).toMatchObject({ attempts: ['succeeded'], effects: 1 });
  expect(await scene.rows(mission)).toEqual(before);
}

/** Where the zombie was frozen, with which outcome on its way. */
const writes: { what: string; gate: Gate; next?: 'fail' | 'wait' }[] = [
  { what: 'a result', gate: 'writing' },
  { what: 'a failure', gate: 'writing', next: 'fail' },
  { what: 'a renewal', gate: 'renewing', next: 'wait' },
];

describe.each(writes)('a zombie that is about to send $what', ({ gate, next }) => {
  async function frozen() {
    const mission = await scene.mission('post', next === undefined ? {} : { next });
    // Short for the renewal's sake, which comes at a third of it.
    const zombie = scene.child({ name: 'zombie', gate, leaseSeconds: gate === 'renewing' ? 3 : 60 });
    await zombie.at(gate);
    await zombie.freeze();
    await scene.pastLeases();
    expect(await engine.port.recoverExpiredLeases()).toMatchObject({ requeued_steps: 1 });
    const wake = () => {
      zombie.open();
      zombie.thaw();
    };
    return { mission, zombie, wake };
  }

  test('changes nothing when another worker has finished', async () => {
    const { mission, zombie, wake } = await frozen();
    await scene.survive();
    const before = await scene.rows(mission);
    wake();
    await expectHarmless(zombie, mission, before);
    expect(await scene.story(mission)).toMatchObject({ attempts: ['crashed', 'succeeded'], effects: 2 });
  });

  test('changes nothing while another worker still runs', async () => {
    const { mission, zombie, wake } = await frozen();
    const live = await claimByOther();
    const before = await scene.rows(mission);
    wake();
    await expectHarmless(zombie, mission, before);
    const results = [{ ...ref(live), result: 'by the other' }];
    expect(await engine.port.completeSteps({ worker: 'other', results })).toMatchObject([{ held: true }]);
    expect(await scene.story(mission)).toMatchObject({ attempts: ['crashed', 'succeeded'], successes: 1 });
  });
});

test('in real time: by its own clock it ends its step, and claims again once a renewal has worked', async () => {
  const mission = await scene.mission('post', { next: 'wait' });
  const zombie = scene.child({ name: 'zombie', leaseSeconds: 2 });
  await until(() => scene.traces().length === 1, { what: 'the step runs' });
  await zombie.freeze();
  await until(async () => (await engine.port.recoverExpiredLeases()).requeued_steps === 1, {
    what: 'the lease of the frozen worker ends',
  });
  await scene.survive();
  const before = await scene.rows(mission);
  zombie.thaw();
  await expectHarmless(zombie, mission, before);
  const [effect] = scene.traces();
  expect(scene.traces()).toContainEqual({ ...effect, what: 'ended', at: expect.any(Number) });
});

test('in real time: cut off from the database, it ends its step before its lease ends', async () => {
  const { url, proxy } = await databaseBehindProxy(db.url);
  const mission = await scene.mission('post', { next: 'wait' });
  const zombie = scene.child({ name: 'cut-off', url, leaseSeconds: 2 });
  await until(() => scene.traces().length === 1, { what: 'the step runs' });
  proxy.setWeather({ kind: 'silence' });
  const ended = await until(() => scene.traces().find(({ what }) => what === 'ended'), {
    what: 'it ends its step',
  });
  const [step] = await engine.steps(mission);
  expect(step).toMatchObject({ status: 'running', lease_epoch: '1' });
  expect(ended.at).toBeLessThan(Number(step?.lease_expires_at));
  expect(await zombie.logged('lease.lost')).toMatchObject({ why: 'not renewed in time' });
  await zombie.kill();
  await scene.pastLeases();
  await scene.survive();
  expect(await scene.story(mission)).toMatchObject({ step: 'succeeded', attempts: ['crashed', 'succeeded'] });
});

describe('the same worker name', () => {
  test('taken by a new process while the old one is frozen: the old one changes nothing', async () => {
    const mission = await scene.mission('post');
    const zombie = scene.child({ name: 'twin', gate: 'writing' });
    await zombie.at('writing');
    await zombie.freeze();
    await scene.pastLeases();
    expect(await scene.survive('twin')).toBe('drained');
    const before = await scene.rows(mission);
    zombie.open();
    zombie.thaw();
    await expectHarmless(zombie, mission, before);
  });

  test('claiming its own step again: only the new lease counts', async () => {
    const mission = await scene.mission('post');
    const worker = scene.child({ name: 'own', gate: 'writing', claimsOn: true });
    await worker.at('writing');
    await scene.pastLeases();
    expect(await engine.port.recoverExpiredLeases()).toMatchObject({ requeued_steps: 1 });
    await worker.at('writing', 2);
    worker.open();
    expect(await worker.logged('lease.lost')).toMatchObject({ lease_epoch: 1 });
    await until(async () => (await scene.story(mission)).step === 'succeeded', { what: 'the step is done' });
    expect(await scene.story(mission)).toMatchObject({
      ...{ attempts: ['crashed', 'succeeded'], letters: [], successes: 1, effects: 2 },
    });
    expect(worker.lines.filter(({ event }) => event === 'lease.lost')).toHaveLength(1);
  });
});
