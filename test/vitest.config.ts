import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    // Processes, not threads: tests spawn, signal and change directories.
    pool: 'forks',
    // Every worker drives the one server; more of them only wait for it.
    maxWorkers: 2,
    // Tests of commands start several processes one after the other; a slow machine takes its time.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
  },
});
