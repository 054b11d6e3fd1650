/**
 * `npm run test:supabase [-- files]`: the SQL and worker tests with the engine called over supabase-js, through the
 * stand-in for PostgREST in test/support/postgrest.ts. The tests' own look at the database stays direct.
 */
import { spawnSync } from 'node:child_process';

const given = process.argv.slice(2);
const chosen = given.length > 0 ? given : ['test/sql', 'test/unit/worker'];
const { status } = spawnSync('npx', ['vitest', 'run', '--config', 'test/vitest.config.ts', ...chosen], {
  stdio: 'inherit',
  env: { ...process.env, OPS_TEST_SUPABASE: '1' },
});
process.exitCode = status ?? 1;
