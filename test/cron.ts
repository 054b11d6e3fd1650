/**
 * `npm run test:cron`: supabase/cron/beat.sql under a real pg_cron, in both ways in which it runs jobs (connections of its
 * own, background workers). Takes up to two minutes, because pg_cron counts in minutes. Skipped with a line that says so
 * where pg_cron is missing.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Client } from 'pg';
import { findInstalled, startInstalled } from './support/installed-server.js';
import { until } from './support/until.js';

const beat = readFileSync(new URL('../supabase/cron/beat.sql', import.meta.url), 'utf8');
/** More than two batches of one round, so that a beat has three. */
const events = 1_200;
const minutesMs = 150_000;

async function beats(url: string): Promise<string> {
  const client = new Client({ connectionString: url });
  await client.connect();
  const rows = async (text: string) => (await client.query(text)).rows;
  try {
    await rows(
      `insert into ops_agent_events (type) select 'cron:' || n from generate_series(1, ${events}) n`,
    );
    await client.query(beat);
    await client.query(beat);
    assert.equal((await rows('select from cron.job')).length, 1, 'a second run replaces the job');
    const ended = await until(
      async () =>
        (
          await rows(
            "select status, return_message from cron.job_run_details where status <> 'running' and end_time is not null",
          )
        )[0],
      { what: 'pg_cron runs the job', deadlineMs: minutesMs },
    );
    assert.equal(ended.status, 'succeeded', ended.return_message);
    const [row] = await rows(
      "select ok, rounds, counts #>> '{triggerResult,events}' as events from ops_heartbeats where source = 'pg_cron' order by started_at limit 1",
    );
    assert.equal(row.ok, true);
    assert.ok(row.rounds >= 3, `${row.rounds} rounds`);
    assert.equal(Number(row.events), events);
    assert.equal(
      (await rows("select from ops_agent_events where type like 'cron:%' and decided_at is null")).length,
      0,
    );
    assert.equal((await rows("select from ops_agent_events where type = 'heartbeat:success'")).length, 1);
    return `${row.rounds} rounds, ${row.events} events decided`;
  } finally {
    await client.end();
  }
}

async function run(): Promise<number> {
  const installed = findInstalled('pg_cron');
  if (installed === undefined) {
    process.stdout.write(
      'cron: skipped, pg_cron is not installed (on Debian: apt-get install --no-install-recommends postgresql-15-cron)\n',
    );
    return 0;
  }
  const ways = { 'connections of its own': 'off', 'background workers': 'on' };
  const runs = Object.entries(ways).map(async ([way, background]) => {
    const server = await startInstalled(installed, {
      shared_preload_libraries: 'pg_cron',
      'cron.database_name': 'postgres',
      'cron.host': '127.0.0.1',
      'cron.use_background_workers': background,
      max_worker_processes: '20',
    });
    return await beats(server.url)
      .then(
        (said) => `cron, ${way}: ok, ${said}\n`,
        (error: unknown) => `cron, ${way}: failed: ${error}\n`,
      )
      .finally(server.stop);
  });
  const said = await Promise.all(runs);
  process.stdout.write(said.join(''));
  return said.every((line) => line.includes(': ok')) ? 0 : 1;
}

process.exitCode = await run();
