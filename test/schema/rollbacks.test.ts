import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { projectRoot } from '../../local/env.js';
import { listMigrations, migrate, seed } from '../../local/migrations.js';
import { type Database, openDatabase } from '../../supabase/client/pg.js';
import { createDatabase } from '../support/database.js';
import { dumpSchema } from './dump.js';

type TestDatabase = Awaited<ReturnType<typeof createDatabase>>;

const files = (await listMigrations()).map(({ file }) => file);
const newestFirst = [...files].reverse();

async function takeBack(database: TestDatabase, file: string): Promise<void> {
  await database.sql(await readFile(join(projectRoot, 'supabase/rollbacks', file), 'utf8'));
}

/** Relations, functions and types of the name, and triggers of any name that call one of ours. */
const leftovers = `
  select 'relation ' || relname as what from pg_class where relnamespace = 'public'::regnamespace and relname ~ '^_?ops_'
  union all select 'function ' || proname from pg_proc where pronamespace = 'public'::regnamespace and proname like 'ops\\_%'
  union all select 'type ' || typname from pg_type where typnamespace = 'public'::regnamespace and typname ~ '^_?ops_'
  union all select 'trigger ' || tgname from pg_trigger where tgname like 'ops\\_%'`;

const kept = `
  select (select count(*)::int from ops_agent_events) as events, (select count(*)::int from ops_mission_proposals) as proposals,
    (select jsonb_object_agg(status, n) from (select status, count(*) as n from ops_mission_steps group by status) s) as steps,
    (select count(*)::int from ops_action_runs) as attempts, (select count(*)::int from ops_step_dead_letters) as letters,
    (select count(*)::int from ops_demand_radar) as signals, (select jsonb_object_agg(key, version) from ops_policy) as policies,
    (select count(*)::int from ops_policy_history) as versions, (select count(*)::int from ops_heartbeats) as beats`;

/** Something in every table: decided events, missions done, waiting and dead, a hold, a signal. */
async function fill({ port }: Database): Promise<void> {
  const [worker, instance] = ['roll', '00000000-0000-4000-8000-000000000001'];
  await port.registerWorker({ name: worker, instance, host: 'here', pid: 1, executors: [] });
  await port.radarAdd({ signals: [{ title: 'a wish' }] });
  for (const name of ['Ada', 'Ben']) await port.emitEvent({ type: 'demo:hello', data: { name } });
  await port.emitEvent({ type: 'nobody:cares' });
  await port.heartbeat({ source: 'test' });
  await port.createProposal({
    template: { title: 'ask', risk_level: 'critical', steps: [{ kind: 'noop' }] },
  });
  const claimed = await port.claimSteps({ worker, executors: ['noop'], limit: 2 });
  const [good, bad] = claimed.map(({ id, lease_epoch }) => ({ step_id: id, lease_epoch }));
  if (good === undefined || bad === undefined) throw new Error('two steps were expected');
  await port.completeSteps({ worker, results: [{ ...good, result: { echo: { text: 'hello' } } }] });
  await port.failSteps({ worker, failures: [{ ...bad, outcome: 'permanent', error: 'no' }] });
}

describe('the rollbacks', () => {
  let database: TestDatabase;

  beforeEach(async () => {
    database = await createDatabase();
    const filled = openDatabase({ connectionString: database.url });
    await fill(filled).finally(() => filled.close());
    return () => database.dispose();
  });

  test('all together leave nothing of ours, and all migrations apply again', async () => {
    const schema = await dumpSchema(database.sql);
    for (const file of newestFirst) await takeBack(database, file);
    expect(await database.sql(leftovers)).toEqual([]);
    expect(await migrate(database.url)).toEqual({ applied: files, present: [] });
    await seed(database.url);
    expect(await dumpSchema(database.sql)).toBe(schema);
  });

  test('of all but the tables keep every row, and leave the same schema once migrated again', async () => {
    const schema = await dumpSchema(database.sql);
    const rows = await database.one(kept);
    expect(rows).toMatchObject({ letters: 1, signals: 1, steps: { succeeded: 1, failed: 1 } });
    for (let count = 1; count < files.length; count++) {
      const back = newestFirst.slice(0, count);
      for (const file of back) await takeBack(database, file);
      const { applied } = await migrate(database.url);
      expect(applied).toEqual([...back].reverse());
      expect((await dumpSchema(database.sql)) === schema, `the schema after ${back.at(-1)} and again`).toBe(
        true,
      );
      expect(await database.one(kept)).toEqual(rows);
      expect(await database.sql('select * from public.ops_check_invariants()')).toEqual([]);
    }
  });

  test('run twice without harm', async () => {
    for (const file of newestFirst.slice(0, -1)) {
      await takeBack(database, file);
      await takeBack(database, file);
    }
    expect(await migrate(database.url)).toMatchObject({ applied: files.slice(1) });
  });

  test("leave an operator's own archive and its rows alone", async () => {
    await database.sql(
      `create table public.archive_of_steps (like public.ops_mission_steps including all);
       insert into public.archive_of_steps select * from public.ops_mission_steps`,
    );
    const count = 'select count(*)::int as n from public.archive_of_steps';
    const { n } = await database.one<{ n: number }>(count);
    for (const file of newestFirst) await takeBack(database, file);
    expect(n).toBeGreaterThan(0);
    expect(await database.one(count)).toEqual({ n });
  });
});
