/** The jobs of supabase/cron, with stand-ins for pg_cron, pg_net and Vault that keep what they are given. */
import { readFileSync } from 'node:fs';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

/** Named arguments as the extensions declare them (pg_cron 1.4, pg_net 0.14); the extensions themselves are not here. */
const standIns = `
  create schema cron; create schema net; create schema vault;
  create table cron.job (jobname text primary key, schedule text, command text);
  create function cron.schedule(job_name text, schedule text, command text) returns bigint language sql as
    $$ insert into cron.job values ($1, $2, $3) on conflict (jobname) do update set schedule = excluded.schedule, command = excluded.command returning 1 $$;
  create table cron.rounds (transaction xid8 default pg_current_xact_id());
  create function cron.note() returns trigger language plpgsql as $$ begin insert into cron.rounds default values; return null; end $$;
  create trigger rounds after insert or update on ops_heartbeats for each row execute function cron.note();
  create table net.sent (url text, body jsonb, params jsonb, headers jsonb, timeout_milliseconds integer);
  create function net.http_post(url text, body jsonb default '{}', params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds integer default 5000) returns bigint language sql as
    $$ insert into net.sent values ($1, $2, $3, $4, $5) returning 1 $$;
  create table vault.decrypted_secrets (name text, decrypted_secret text);
  insert into vault.decrypted_secrets values ('ops_loop_url', 'https://ops.example.com'), ('ops_loop_key', 'canary-key')`;

const fileOf = (name: string): string =>
  readFileSync(new URL(`../../supabase/cron/${name}.sql`, import.meta.url), 'utf8').replaceAll(
    /^create extension .*$/gm,
    '',
  );
const jobs = () => db.sql<{ jobname: string; schedule: string; command: string }>('select * from cron.job');
const beats = () =>
  db.sql("select ok, rounds, counts, failures from ops_heartbeats where source = 'pg_cron'");

beforeAll(async () => void (await db.sql(standIns)));
beforeEach(async () => void (await db.sql('delete from cron.job; delete from net.sent')));

async function schedule(name: string): Promise<string> {
  await db.sql(fileOf(name));
  await db.sql(fileOf(name));
  const [job, ...others] = await jobs();
  expect(others).toEqual([]);
  expect(job?.schedule).toBe('* * * * *');
  return job?.command ?? '';
}

describe('the beat in SQL', () => {
  test('goes on while work is left, each round in a transaction of its own, and leaves one row', async () => {
    const command = await schedule('beat');
    await db.sql("insert into ops_agent_events (type) select 'a:b' from generate_series(1, 1100)");
    await db.sql(command);
    expect(await beats()).toMatchObject([
      { ok: true, rounds: 3, counts: { triggerResult: { events: 1100 } } },
    ]);
    expect(await db.sql('select distinct transaction from cron.rounds')).toHaveLength(3);
    await db.sql(command);
    expect(await beats()).toHaveLength(2);
  });

  test('records a round that failed as a whole', async () => {
    const command = await schedule('beat');
    await db.sql('alter function ops_phases(jsonb) rename to ops_phases_away');
    try {
      await db.sql(command);
    } finally {
      await db.sql('alter function ops_phases_away(jsonb) rename to ops_phases');
    }
    expect(await beats()).toMatchObject([
      { ok: false, failures: [{ phase: 'round', message: expect.stringContaining('42883') }] },
    ]);
  });
});

test('the beat over HTTP takes address and key out of Vault when it runs, and waits longer than a beat may take', async () => {
  const command = await schedule('beat-over-http');
  expect(command).not.toMatch(/canary|example\.com/);
  await db.sql(command);
  expect(await db.one('select * from net.sent')).toEqual({
    url: 'https://ops.example.com/api/ops/heartbeat',
    body: {},
    params: {},
    headers: { 'Content-Type': 'application/json', Authorization: 'Bearer canary-key' },
    timeout_milliseconds: 20_000,
  });
});
