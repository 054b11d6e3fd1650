/**
 * `npm run test:versions [-- 15 16 18]`: the SQL tests on the other supported major versions of PostgreSQL. Fetches
 * their packages from the npm registry into a temporary directory; the suite itself runs on the installed one.
 */
import { spawnSync } from 'node:child_process';
import { releases, startRelease } from './support/release.js';

const chosen = process.argv.slice(2).length > 0 ? process.argv.slice(2) : Object.keys(releases);

let failed = 0;
for (const major of chosen) failed += await runOn(major);
process.stdout.write(`versions: ${chosen.length - failed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;

async function runOn(major: string): Promise<number> {
  const server = await startRelease(major);
  try {
    process.stdout.write(`PostgreSQL ${major}\n`);
    const { status } = spawnSync('npx', ['vitest', 'run', '--config', 'test/vitest.config.ts', 'test/sql'], {
      stdio: 'inherit',
      env: { ...process.env, OPS_TEST_DATABASE_URL: server.url },
    });
    return status === 0 ? 0 : 1;
  } finally {
    await server.stop();
  }
}
