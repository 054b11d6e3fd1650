import { expect, it } from 'vitest';
import { runDrill } from './drill.js';
import { chooseFaults } from './faults.js';

it('a short drill with a fixed seed loses nothing, invents nothing and leaves nothing open', async () => {
  const names = ['worker-kill', 'server-stop', 'lost-answers', 'backend-terminate'];
  const result = await runDrill({
    seed: 20261120,
    durationMs: 5_000,
    everyMs: 500,
    leaseMs: 3_000,
    faults: chooseFaults(names),
    workers: 2,
  });
  expect(result.violations).toEqual([]);
  // That it could have failed: every fault was struck, calls went unanswered, and there was work under way.
  expect([...new Set(result.strikes.map(({ fault }) => fault))].sort()).toEqual([...names].sort());
  expect(result.events.acknowledged).toBeGreaterThan(20);
  expect(result.calls.filter(({ outcome }) => outcome === 'unknown').length).toBeGreaterThan(0);
  expect(result.logged['database.away OPS_001']).toBeGreaterThan(0);
  expect(result.logged['worker.started']).toBeGreaterThan(2);
  expect(result.effects.effects).toBeGreaterThan(20);
}, 120_000);
