import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './support/order.js';

/**
 * What asks a database or an app and changes nothing of its process: these files take turns in processes that stay, and
 * the engine's client is loaded once for all of them. A kit that opens its database as it is loaded (of `hostile-` and
 * `insight-`) would do so for the first of its files only. Every other file has a process of its own.
 */
const together = ['sql/!(hostile-|insight-)', 'docs/', 'schema/', 'property/', 'unit/http-'].map(
  (start) => `test/${start}*.test.ts`,
);

const root = fileURLToPath(new URL('..', import.meta.url));
const settings = {
  // Processes, not threads: tests spawn, signal and change directories.
  pool: 'forks',
  // Tests of commands start several processes one after the other; a slow machine takes its time.
  testTimeout: 60_000,
  hookTimeout: 60_000,
} as const;

export default defineConfig({
  root,
  test: {
    globalSetup: ['test/support/global-setup.ts'],
    // Every worker drives the one server; more of them only wait for it.
    maxWorkers: 2,
    teardownTimeout: 20_000,
    sequence: { sequencer: LongestFirst },
    projects: [
      { root, test: { ...settings, name: 'apart', include: ['test/**/*.test.ts'], exclude: together } },
      { root, test: { ...settings, name: 'together', include: together, isolate: false } },
    ],
  },
});
