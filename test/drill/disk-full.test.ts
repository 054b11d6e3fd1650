/** A short drill with a fixed seed on a disk that is filled, in a mount namespace of its own. */
import { expect, it } from 'vitest';
import { runDiskDrill, whyNoSmallDisk } from './disk.js';

const skipped = whyNoSmallDisk();

it(`a full disk loses nothing and is no more than a pause${skipped === undefined ? '' : ` (skipped: ${skipped})`}`, async ({
  skip,
}) => {
  skip(skipped !== undefined, skipped);
  const { code, answer } = await runDiskDrill({ seed: 3, minutes: 0.02, json: true, faults: ['disk-full'] });
  const { violations, strikes, events, logged } = JSON.parse(answer);
  expect(violations).toEqual([]);
  expect(code).toBe(0);
  expect(strikes.length).toBeGreaterThan(0);
  expect(events.acknowledged).toBeGreaterThan(10);
  expect(logged['database.back']).toBeGreaterThan(0);
}, 120_000);
