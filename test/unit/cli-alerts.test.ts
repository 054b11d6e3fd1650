/** `ops-loop alerts`, as a person and as a script calls it. */
import { expect, test } from 'vitest';
import { callCli, runCli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';

const database = useDatabase();
const env = () => ({ DATABASE_URL: database.url });
const policy = (rules: object) =>
  database.sql(
    "insert into ops_policy (key, value) values ('alerts', $1) on conflict (key) do update set value = excluded.value",
    [JSON.stringify({ rules })],
  );

test('alerts: all are shown, and what is not well says what to look at; critical is exit code 1', async () => {
  await policy({ database_connections: { warning: 0.01, critical: 1_000_000 } });
  const warned = await runCli(['alerts'], { env: env() });
  expect(warned.code).toBe(0);
  expect(warned.stdout).toMatch(
    /^level +alert +value +warning +critical +unit +raised\nwarning +database_connections /,
  );
  expect(warned.stdout).toMatch(/\nok +queued_steps +0 +50 +500 +steps +-\n/);
  expect(warned.stdout).toMatch(
    /\n\nConnections of the database in use: [\d.]+ %, warning from 0 %\.\n→ select /,
  );

  await policy({ backup_age: {} });
  const { code, stdout } = await callCli(['alerts', '--json'], env());
  expect(code).toBe(1);
  const answer = JSON.parse(stdout);
  expect(answer.level).toBe('critical');
  expect(answer.alerts[0]).toMatchObject({ name: 'backup_age', level: 'critical', value: null });
  expect(answer.alerts).toHaveLength(19);
});
