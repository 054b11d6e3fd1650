import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { listMigrations, migrate } from '../../local/migrations.js';
import { startWorker, type Worker } from '../../local/worker/worker.js';
import { runBeat } from '../../supabase/client/beat.js';
import { openDatabase } from '../../supabase/client/pg.js';
import { schemaVersion } from '../../supabase/client/terms.js';
import { runCli } from '../support/cli.js';
import { type TestDatabase, useDatabase } from '../support/database.js';
import { until } from '../support/until.js';
import { loadFixture } from './upgrade/fixture.js';
import { registry } from './upgrade/scene.js';

const folder = fileURLToPath(new URL('./upgrade/', import.meta.url));
const migrations = fileURLToPath(new URL('../../supabase/migrations/', import.meta.url));
const versions = (await readdir(folder))
  .filter((file) => file.endsWith('.sql'))
  .map((file) => basename(file, '.sql'));

/** The files up to a version, in a folder of their own. */
async function migrationsUpTo(version: string): Promise<string> {
  const earlier = await mkdtemp(join(tmpdir(), 'migrations-'));
  const known = (await listMigrations()).filter((migration) => migration.version <= version);
  await Promise.all(known.map(({ file }) => cp(join(migrations, file), join(earlier, file))));
  return earlier;
}

function workerOn(db: TestDatabase): {
  worker: Promise<Worker>;
  port: ReturnType<typeof openDatabase>['port'];
} {
  const database = openDatabase({ connectionString: db.url });
  const worker = startWorker({
    port: database.port,
    log: pino({ level: 'silent' }),
    name: 'new',
    registry,
    print: () => {},
  });
  onTestFinished(async () => {
    await worker.then(
      (started) => started.stop(),
      () => {},
    );
    await database.close();
  });
  return { worker, port: database.port };
}

it('there is a fixture of a version that this code can be upgraded from', () => {
  expect(versions.length).toBeGreaterThan(0);
  for (const version of versions) expect(version <= schemaVersion).toBe(true);
});

describe.each(versions)('a database of version %s in the middle of its work', (version) => {
  const db = useDatabase({ content: 'empty' });
  const states = (table: string) =>
    db
      .sql<{ status: string }>(`select distinct status from ${table} order by 1`)
      .then((rows) => rows.map(({ status }) => status));

  beforeAll(async () => {
    const earlier = await migrationsUpTo(version);
    await migrate(db.url, { folder: earlier });
    await rm(earlier, { recursive: true });
    await loadFixture(db.sql, await readFile(join(folder, `${version}.sql`), 'utf8'));
    await migrate(db.url);
  });

  it('has something in every state, and breaks no invariant', async () => {
    expect(await states('ops_mission_steps')).toEqual([
      'blocked',
      'cancelled',
      'failed',
      'queued',
      'running',
      'scheduled',
      'skipped',
      'succeeded',
    ]);
    expect(await states('ops_missions')).toEqual(['approved', 'cancelled', 'failed', 'running', 'succeeded']);
    expect(await states('ops_mission_proposals')).toEqual(['auto_approved', 'pending', 'rejected', 'voting']);
    expect(await states('ops_agent_reactions')).toEqual(['done', 'queued']);
    const left = await db.one(`
      select (select count(*) from ops_agent_events where processed_at is null)::int as open_events,
        (select count(*) from ops_mission_proposals where status = 'pending' and gated_at is null)::int as held_proposals,
        (select count(*) from ops_mission_steps where wait_reason is not null)::int as held_steps,
        (select count(*) from ops_mission_steps where lease_expires_at < now())::int as expired_leases,
        (select array_agg(distinct cause || ' ' || state order by cause || ' ' || state) from ops_step_dead_letters) as letters`);
    expect(left).toEqual({
      open_events: 3,
      held_proposals: 3,
      held_steps: 2,
      expired_leases: 2,
      letters: ['permanent discarded', 'permanent open', 'permanent requeued', 'unknown open'],
    });
    expect(await db.sql('select * from ops_check_invariants()')).toEqual([]);
  });

  it('is carried on by a worker of today: everything ends as it should, and breaks no invariant', async () => {
    const { worker, port } = workerOn(db);
    await worker;
    // Time passes: the worker that held the leases is gone, and the backoff of what failed is over.
    await db.sql(
      `select set_config('ops.engine', 'on', true);
       update ops_mission_steps set lease_expires_at = now() where status = 'running';
       update ops_mission_steps set ready_at = now() where status = 'scheduled'`,
    );
    await port.setPolicy({ key: 'proposal_caps', value: {} });
    await port.resume({ scope: 'executor:drill', reason: 'upgraded' });
    const allEnded = async () => {
      const { failures } = await runBeat(port, { source: 'sql' });
      expect(failures).toEqual([]);
      for (const id of await waiting()) await port.approveProposal({ id, actor: 'operator' });
      const { open } = await db.one<{ open: number }>(openWork);
      return open === 0;
    };
    await until(allEnded, { what: 'everything ends' }).catch(async (error) => {
      throw new Error(`${error}: ${JSON.stringify(await ends())}`);
    });
    expect(await ends()).toMatchObject({
      succeeded: 'succeeded',
      'scheduled after a failure': 'succeeded',
      'failed for good': 'failed',
      'failed, and goes on': 'succeeded',
      'unknown outcome': 'failed',
      requeued: 'succeeded',
      discarded: 'failed',
      'cancelled while it ran': 'cancelled',
      'cancelled before it ran': 'cancelled',
      'running under a live lease': 'succeeded',
      'running under an expired lease': 'succeeded',
      'running, not to be tried again': 'succeeded',
      'queued and blocked': 'succeeded',
      'held by a switch': 'succeeded',
      'waits for a person': 'succeeded',
      'is being voted on': 'succeeded',
      'is held by a cap': 'succeeded',
      'inserted by hand': 'succeeded',
      'Order 1': 'succeeded',
      'Order 3': 'succeeded',
      Alarm: 'succeeded',
    });
    expect(await db.sql('select * from ops_check_invariants()')).toEqual([]);
  });

  it('takes up its dead letters again', async () => {
    const { worker, port } = workerOn(db);
    await worker;
    const { requeued } = await port.requeueDeadLetters({ reason: 'after the upgrade' });
    expect(requeued).toBeGreaterThan(1);
    const nothingOpen = async () => (await db.one<{ open: number }>(openWork)).open === 0;
    await until(nothingOpen, { what: 'what was requeued ends' });
    expect(await db.sql("select id from ops_step_dead_letters where state = 'open'")).toEqual([]);
    expect(await db.sql('select * from ops_check_invariants()')).toEqual([]);
  });

  const waiting = () =>
    db
      .sql<{ id: string }>(
        "select id from ops_mission_proposals where status in ('pending', 'voting') and gated_at is not null",
      )
      .then((rows) => rows.map(({ id }) => id));

  /** Title of each mission and how it ended. */
  const ends = async () => {
    const rows = await db.sql<{ title: string; status: string }>(
      'select p.title, m.status from ops_missions m join ops_mission_proposals p on p.id = m.proposal_id',
    );
    return Object.fromEntries(rows.map(({ title, status }) => [title, status]));
  };
});

const openWork = `
  select (select count(*) from ops_agent_events where processed_at is null)::int
    + (select count(*) from ops_agent_reactions where status = 'queued')::int
    + (select count(*) from ops_mission_proposals where status = 'pending' and gated_at is null)::int
    + (select count(*) from ops_missions where completed_at is null)::int as open`;

describe('code and schema of different versions', () => {
  const db = useDatabase();
  const setVersion = (version: string) =>
    db.sql(
      `with newer as (delete from ops_migrations where version > $1)
       insert into ops_migrations (version, name) values ($1, 'test') on conflict do nothing`,
      [version],
    );

  it('a worker refuses a schema that is older, and says what to do', async () => {
    await setVersion('0001');
    await expect(workerOn(db).worker).rejects.toMatchObject({
      code: 'OPS_013',
      message: expect.stringContaining(`0001, this worker needs ${schemaVersion}`),
      hint: expect.stringContaining('migrate'),
    });
  });

  it('so does the command, with an exit code', async () => {
    await setVersion('0001');
    const { code, stderr } = await runCli(['worker', '--once'], { env: { DATABASE_URL: db.url } });
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/OPS_013[\s\S]*migrate/) });
  });

  it('a worker goes on with one that is newer: migrations come first', async () => {
    await setVersion('9999');
    const { worker } = workerOn(db);
    expect((await worker).stats().state).toBe('running');
  });
});
