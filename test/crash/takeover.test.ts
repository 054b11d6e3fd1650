/** In real time, without a heartbeat: what a killed worker held runs elsewhere within its lease + 10 s. */
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { startWorker } from '../../local/worker/worker.js';
import { until } from '../support/until.js';
import { registry, useScene } from './scene.js';

const scene = useScene();
const leaseSeconds = 3;

test('the steps of a killed worker run elsewhere within lease + 10 s, at the slowest of recoveries', async () => {
  const missions = await Promise.all([1, 2, 3].map(() => scene.mission('post')));
  const child = scene.child({ name: 'doomed', gate: 'after effect', leaseSeconds });
  await child.at('after effect', missions.length);
  const second = await startWorker({
    ...{ port: scene.engine.port, log: pino({ level: 'silent' }), name: 'second', registry, print: () => {} },
    // Recovery comes as late as it ever does.
    random: () => 1,
  });
  onTestFinished(async () => void (await second.stop()));
  await child.kill();
  await until(() => second.stats().succeeded === missions.length, {
    what: 'the second worker has done the steps',
    deadlineMs: (leaseSeconds + 10) * 1_000,
  });
  for (const mission of missions)
    expect(await scene.story(mission)).toMatchObject({
      ...{ step: 'succeeded', attempts: ['crashed', 'succeeded'], successes: 1, effects: 2 },
    });
  expect(await scene.db.sql('select from ops_heartbeats')).toEqual([]);
});
