import { expect, test } from 'vitest';
import { drain, type ShutdownDeps } from '../../local/worker/shutdown.js';
import { Lifecycle } from '../../local/worker/state.js';
import { deferred, recordingLog } from './worker-kit.js';

const idle = {
  runner: { running: new Set(), takeBackUnstarted: () => [], settled: async () => true },
  completer: { drained: async () => true },
} as unknown as Pick<ShutdownDeps, 'runner' | 'completer'>;

test('a claim that is under way is waited for within the grace: what it brings has to be given back', async () => {
  const lifecycle = new Lifecycle();
  lifecycle.to('running');
  const answered = deferred();
  let patienceMs = 0;
  const drained = drain({
    ...{ ...idle, lifecycle, log: recordingLog().log, graceMs: 20_000, wake: () => {} },
    claimsEnded: (delayMs) => {
      patienceMs = delayMs;
      return answered.promise;
    },
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect([lifecycle.state, patienceMs]).toEqual(['draining', 20_000]);
  answered.resolve();
  await drained;
  expect(lifecycle.state).toBe('stopping');
});
