/** The reactive beat of a worker: when it beats again. */
import { expect, test } from 'vitest';
import { Reactor } from '../../local/worker/reactive.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { health, round } from './http-app.js';
import { manualClock, quietOutage, recordingLog } from './worker-kit.js';

function reactor(beats: Partial<typeof round>[]) {
  const { log, lines } = recordingLog();
  const port = { health, heartbeat: async () => ({ ...round, more: false, ...beats.shift() }) };
  return {
    lines,
    reactor: new Reactor({
      ...{ clock: manualClock(), random: () => 0, log, outage: quietOutage(), beat: {} },
      port: port as unknown as OpsPort,
      isListening: () => true,
      isRunning: () => true,
      onWork: () => {},
    }),
  };
}

const failed = (phase: string) => ({
  ok: false,
  failures: [{ phase, code: '53100', message: 'no room' }] as never[],
});

test('a beat that did something is followed by another at once', async () => {
  const { reactor: one } = reactor([{}]);
  expect(await one.tick()).toBe(0);
});

test('a phase that fails is not tried again at once, and is logged once for as long as it fails', async () => {
  const { reactor: one, lines } = reactor([
    failed('events'),
    failed('events'),
    failed('sweep'),
    {},
    failed('sweep'),
  ]);
  const waits = [await one.tick(), await one.tick(), await one.tick(), await one.tick(), await one.tick()];
  expect(waits[0]).toBeGreaterThan(0);
  expect(waits[1]).toBeGreaterThan(waits[0] ?? 0);
  expect(waits[3]).toBe(0);
  expect(waits[4]).toBe(waits[0]);
  expect(lines.map(({ failures }) => JSON.stringify(failures).slice(0, 19))).toEqual([
    '[{"phase":"events",',
    '[{"phase":"sweep","',
    '[{"phase":"sweep","',
  ]);
});
