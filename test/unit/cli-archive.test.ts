/** `ops-loop archive`: what the command says, counts and deletes. What may go is proved in test/sql/archive.test.ts. */
import { beforeAll, expect, test } from 'vitest';
import { callCli } from '../support/cli.js';
import { advanceClock } from '../support/clock.js';
import { useDatabase } from '../support/database.js';

const database = useDatabase();
const archive = (...args: string[]) => callCli(['archive', ...args], { DATABASE_URL: database.url });
const missions = () => database.one('select count(*)::int as n from ops_missions');

beforeAll(async () => {
  await database.sql(
    `select ops_create_proposal('{"title": "greet", "steps": [{"kind": "noop"}]}') from generate_series(1, 3);
     select set_config('ops.engine', 'on', false);
     with ended as (update ops_mission_steps set status = 'succeeded' returning mission_id)
       update ops_missions set status = 'succeeded', open_steps = 0, completed_at = now() where id in (select mission_id from ended);
     select set_config('ops.engine', '', false)`,
  );
});

test('has nothing to do while rows are young', async () => {
  const { code, stdout, stderr } = await archive();
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'nothing is past its retention\n' });
  expect(stderr).toMatch(/^archiving /);
});

test('counts with --dry-run, deletes without, and shows how far it has come', async () => {
  await advanceClock(database.sql, '91 days');
  const dry = await archive('--dry-run', '--json');
  expect(JSON.parse(dry.stdout)).toMatchObject({
    dry_run: true,
    rows: 9,
    tables: { ops_missions: 3, ops_mission_steps: 3, ops_mission_proposals: 3 },
  });
  expect(await missions()).toEqual({ n: 3 });
  const { code, stdout, stderr } = await archive('--limit', '2');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^table +deleted\n/);
  expect(stdout).toMatch(/^ops_mission_steps +3$/m);
  expect(stdout).toMatch(/^9 rows deleted$/m);
  expect(stderr).toMatch(/^pages {2}\d+\/\d+$/m);
  expect(await missions()).toEqual({ n: 0 });
});

test('refuses a limit that is none', async () => {
  expect(await archive('--limit', '0')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('p_limit is 0'),
  });
});
