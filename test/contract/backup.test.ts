/** A backup taken while the loop works, put into another database: the same rows, nothing broken, and the loop goes on. */
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { readBackup } from '../../local/backup/format.js';
import { restoreBackup } from '../../local/backup/restore.js';
import { leftOut } from '../../local/backup/tables.js';
import { takeBackup } from '../../local/backup/write.js';
import { openDatabase } from '../../supabase/client/pg.js';
import { blocked, hold } from '../sql/engine-kit.js';
import { callCli, runCli, startCli } from '../support/cli.js';
import { createDatabase, type DatabaseOptions, type TestDatabase, useDatabase } from '../support/database.js';

const source = useDatabase();
let home: string;
let file: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'ops-loop-backup-'));
  file = join(home, 'loop.gz');
  await fill(source.url);
  await takeBackup({ config: { connectionString: source.url }, file });
});
afterAll(() => rm(home, { recursive: true }));

/** Something of everything: decided, done, failed, dead, held, running under a lease, and text that COPY has to escape. */
async function fill(url: string): Promise<void> {
  const { port, pool, close } = openDatabase({ connectionString: url });
  const worker = 'copied';
  await port.registerWorker({
    name: worker,
    instance: '00000000-0000-4000-8000-000000000001',
    host: 'here',
    pid: 1,
    executors: [],
  });
  await port.radarAdd({ signals: [{ title: 'a wish' }] });
  for (const name of ['Ada', 'Ben', 'Cleo']) await port.emitEvent({ type: 'demo:hello', data: { name } });
  await port.emitEvent({ type: 'nobody:cares', data: { text: 'a\\.\n\\.\nb\t\\N "ü" \\' } });
  await port.heartbeat({ source: 'test' });
  await port.createProposal({
    template: { title: 'ask', risk_level: 'critical', steps: [{ kind: 'noop' }] },
  });
  const [good, bad, left] = await port.claimSteps({
    worker,
    executors: ['noop'],
    limit: 3,
    leaseSeconds: 0.001,
  });
  if (good === undefined || bad === undefined || left === undefined)
    throw new Error('three steps were expected');
  await port.completeSteps({
    worker,
    results: [{ step_id: good.id, lease_epoch: good.lease_epoch, result: { echo: 'x' } }],
  });
  await port.failSteps({
    worker,
    failures: [{ step_id: bad.id, lease_epoch: bad.lease_epoch, outcome: 'permanent', error: 'no' }],
  });
  await port.setPolicy({ key: 'proposal_caps', value: { daily_limit: 100 }, reason: 'second version' });
  await port.emitEvent({ type: 'still:open' });
  await pool.query(
    "insert into ops_agent_events (type, data) values ('odd:data', jsonb_build_object('a', E'\\\\.', 'b', E'\\n\\\\.\\n'))",
  );
  await close();
}

/** Rows of every table that a backup has, with a digest of all they hold. */
const contents = async (db: Pick<TestDatabase, 'sql'>): Promise<Record<string, unknown>> => {
  const tables = await db.sql<{ name: string }>(
    "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relname like 'ops\\_%' and relkind = 'r' order by 1",
  );
  const all: Record<string, unknown> = {};
  for (const { name } of tables.filter((table) => !leftOut.has(table.name)))
    [all[name]] = await db.sql(
      `select count(*)::int as rows, md5(string_agg(t::text, '|' order by t::text)) as digest from public.${name} t`,
    );
  return all;
};

async function target(options?: DatabaseOptions) {
  const database = await createDatabase(options);
  onTestFinished(() => database.dispose());
  return database;
}
const restore = (url: string, from = file) =>
  restoreBackup({ config: { connectionString: url }, file: from });

describe('a backup', () => {
  test('put into another database is the same loop, which goes on where it was', async () => {
    const database = await target();
    const restored = await restore(database.url);
    expect(await contents(database)).toEqual(await contents(source));
    expect(restored.tables).toMatchObject({
      ops_agent_events: expect.any(Number),
      ops_policy_history: expect.any(Number),
    });
    const { port, close } = openDatabase({ connectionString: database.url });
    onTestFinished(close);
    expect(await port.checkInvariants()).toEqual([]);
    // Guards and forced row-level security are as they were.
    await expect(database.sql('delete from ops_policy_history')).rejects.toMatchObject({ code: 'OP015' });
    await expect(
      database.sql('insert into ops_missions (proposal_id) values (gen_random_uuid())'),
    ).rejects.toMatchObject({ code: 'OP015' });
    expect(
      await database.sql(
        "select relname from pg_class where relname like 'ops\\_%' and relkind = 'r' and not relforcerowsecurity and relnamespace = 'public'::regnamespace",
      ),
    ).toEqual([]);
    expect(await port.setPolicy({ key: 'proposal_caps', value: { daily_limit: 5 } })).toMatchObject({
      version: 3,
    });
    // What was running when the backup was taken is recovered and done.
    expect(await port.recoverExpiredLeases()).toMatchObject({ requeued_steps: 1 });
    await port.heartbeat({ source: 'test' });
    expect(await database.sql("select outcome from ops_agent_events where type = 'still:open'")).toEqual([
      { outcome: 'unmatched' },
    ]);
    for (let left = 1; left > 0; ) {
      const claimed = await port.claimSteps({ worker: 'new', executors: ['noop', 'radar'] });
      left = claimed.length;
      await port.completeSteps({
        worker: 'new',
        results: claimed.map(({ id, lease_epoch }) => ({ step_id: id, lease_epoch, result: {} })),
      });
    }
    expect(
      await database.sql("select status from ops_missions where status not in ('succeeded', 'failed')"),
    ).toEqual([]);
    expect(await port.checkInvariants()).toEqual([]);
  });

  test('is taken and restored by an owner that is neither superuser nor free of row-level security', async () => {
    const owned = await target({ asOwner: true });
    await restore(owned.url);
    expect(await contents(owned)).toEqual(await contents(source));
    const again = join(home, 'again.gz');
    await takeBackup({ config: { connectionString: owned.url }, file: again });
    const other = await target();
    await restore(other.url, again);
    expect(await contents(other)).toEqual(await contents(source));
  });

  test('is of one moment, whatever is written while it is taken', async () => {
    const during = join(home, 'during.gz');
    const release = await hold(source, 'lock table ops_heartbeats in access exclusive mode');
    const taken = takeBackup({ config: { connectionString: source.url }, file: during });
    await blocked(source, 1, 'the backup is at ops_heartbeats');
    await source.sql(
      `insert into ops_mission_proposals (template) values ('{"title": "too late", "steps": [{"kind": "noop"}]}')`,
    );
    await release();
    await taken;
    const text = gunzipSync(await readFile(during)).toString();
    expect([text.includes('still:open'), text.includes('too late')]).toEqual([true, false]);
    expect((await stat(during)).mode & 0o777).toBe(0o600);
    await source.sql("delete from ops_mission_proposals where title = 'too late'");
  });

  test('that is cut off, changed or none at all changes nothing, and says so', async () => {
    const database = await target();
    const before = await contents(database);
    const whole = gunzipSync(await readFile(file));
    const damaged: [string, Buffer, RegExp][] = [
      ['cut.gz', (await readFile(file)).subarray(0, 3_000), /damaged|ends/],
      ['short.gz', gzipSync(whole.subarray(0, whole.length - 40)), /ends in the middle/],
      [
        'changed.gz',
        gzipSync(Buffer.from(whole.toString().replace('nobody:cares', 'nobody:dares'))),
        /are not those that were written/,
      ],
      ['none.gz', gzipSync('hello\n'), /not a backup/],
      ['plain.gz', Buffer.from('hello'), /damaged, or no gzip/],
    ];
    for (const [name, bytes, message] of damaged) {
      await writeFile(join(home, name), bytes);
      await expect(restore(database.url, join(home, name)), name).rejects.toMatchObject({
        code: 'OPS_011',
        message: expect.stringMatching(message),
      });
    }
    expect(await contents(database)).toEqual(before);
  });

  test('goes into no database that has work, another schema, or lacks a column it has', async () => {
    await expect(restore(source.url)).rejects.toMatchObject({
      code: 'OPS_015',
      message: expect.stringContaining('ops_agent_events'),
    });
    const empty = await target({ content: 'empty' });
    await expect(restore(empty.url)).rejects.toMatchObject({
      code: 'OPS_013',
      hint: expect.stringContaining('--into-empty'),
    });
    await source.sql(
      'alter table ops_mission_steps add column metadata jsonb; create table ops_mission_steps_archive (like ops_mission_steps including all)',
    );
    const noted = join(home, 'noted.gz');
    await takeBackup({ config: { connectionString: source.url }, file: noted });
    await source.sql(
      'alter table ops_mission_steps drop column metadata; drop table ops_mission_steps_archive',
    );
    const database = await target();
    await expect(restore(database.url, noted)).rejects.toMatchObject({
      code: 'OPS_013',
      hint: expect.stringContaining('add column "metadata" jsonb'),
    });
    await database.sql('alter table ops_mission_steps add column metadata jsonb');
    await expect(restore(database.url, noted)).rejects.toMatchObject({
      code: 'OPS_013',
      hint: expect.stringContaining('ops_mission_steps_archive'),
    });
    await database.sql('create table ops_mission_steps_archive (like ops_mission_steps including all)');
    expect((await restore(database.url, noted)).tables).toHaveProperty('ops_mission_steps_archive', 0);
  });

  test('is refused by a loop that works, at once and without waiting for its locks', async () => {
    const release = await hold(source, 'lock table ops_missions in row exclusive mode');
    await expect(restore(source.url)).rejects.toMatchObject({
      code: 'OPS_015',
      message: expect.stringContaining('not empty'),
    });
    await release();
  });

  test('taken twice at once under one name is whole', async () => {
    const twice = join(home, 'twice.gz');
    const config = { connectionString: source.url };
    await Promise.all([takeBackup({ config, file: twice }), takeBackup({ config, file: twice })]);
    const database = await target();
    await restore(database.url, twice);
    expect(await contents(database)).toEqual(await contents(source));
    expect((await readdir(home)).filter((name) => name.includes('part'))).toEqual([]);
  });

  test('by a role that sees no rows is refused, and leaves no file', async () => {
    const { role, password } = { role: 'service_role', password: 'x'.repeat(20) };
    await source.sql(`alter role ${role} login password '${password}'`);
    onTestFinished(async () => void (await source.sql(`alter role ${role} nologin`)));
    const config = { connectionString: source.urlAs(role, password) };
    await expect(takeBackup({ config, file: join(home, 'blind.gz') })).rejects.toMatchObject({
      code: 'OPS_014',
    });
    await expect(
      takeBackup({ config: { connectionString: source.url }, file: join(home, 'no/such/place.gz') }),
    ).rejects.toMatchObject({ code: 'OPS_011' });
    expect((await readdir(home)).filter((name) => /blind|part/.test(name))).toEqual([]);
  });
});

test('what a killed backup left is named and removed by the next to the same place, and nobody else’s part is', async () => {
  const name = join(home, 'killed.gz');
  const env = { DATABASE_URL: source.url, OPS_LOG_LEVEL: 'fatal' };
  const parts = async () => (await readdir(home)).filter((one) => /killed.*part$/.test(one));
  const release = await hold(source, 'lock table ops_heartbeats in access exclusive mode');
  const child = startCli(['backup', name], { env });
  const ended = once(child, 'exit');
  await blocked(source, 1, 'the backup is at ops_heartbeats');
  child.kill('SIGKILL');
  await ended;
  const [left = ''] = await parts();
  expect(left).toMatch(/^killed\.gz\.\d+@/);
  const elsewhere = left.replace(/@.*?\.(?=[0-9a-f-]{36})/, '@another-machine.');
  const living = left.replace(/\d+@/, '1@');
  for (const other of [elsewhere, living]) await writeFile(join(home, other), '');
  await release();
  const again = await runCli(['backup', name], { env });
  expect([again.code, again.stderr]).toEqual([0, expect.stringContaining(`removed ${left}, which a backup`)]);
  expect((await parts()).sort()).toEqual([elsewhere, living].sort());
  for (const other of [elsewhere, living]) await rm(join(home, other));
  await source.sql('delete from ops_backups');
  const database = await target();
  await restore(database.url, name);
  expect(await contents(database)).toEqual(await contents(source));
});

test('backup refuses a directory as its file at once', async () => {
  const taken = await runCli(['backup', home, '--force'], { env: { OPS_LOG_LEVEL: 'fatal' } });
  expect(taken).toMatchObject({ code: 2, stderr: expect.stringContaining('is a directory') });
});

const Numbers = z.record(z.string(), z.number());

test('the reader finds the end of rows however the stream is cut', async () => {
  const text = '{"a":1}\n\\.\n{"b":2}\nx\\\\.\ny\n\\.\n{"c":3}\n';
  for (let size = 1; size < text.length; size++) {
    async function* pieces(): AsyncGenerator<Buffer> {
      for (let at = 0; at < text.length; at += size) yield Buffer.from(text.slice(at, at + size));
    }
    const reader = readBackup(pieces());
    const read = async () => {
      const all: Buffer[] = [];
      for await (const piece of reader.rows()) all.push(piece);
      return Buffer.concat(all).toString();
    };
    expect([
      await reader.json(Numbers),
      await read(),
      await reader.json(Numbers),
      await read(),
      await reader.json(Numbers),
    ]).toEqual([{ a: 1 }, '', { b: 2 }, 'x\\\\.\ny\n', { c: 3 }]);
  }
});

test('the commands: a new file, noted as a backup; --into-empty creates the schema', async () => {
  const name = join(home, 'command.gz');
  const env = { DATABASE_URL: source.url, OPS_LOG_LEVEL: 'fatal' };
  const taken = await runCli(['backup', name, '--json'], { env });
  expect([taken.code, JSON.parse(taken.stdout)], taken.stderr).toEqual([
    0,
    expect.objectContaining({ file: name, bytes: (await stat(name)).size }),
  ]);
  expect(await source.sql("select detail ->> 'file' as file from ops_backups")).toEqual([
    { file: 'command.gz' },
  ]);
  const empty = await target({ content: 'empty' });
  const restored = await runCli(['restore', name, '--into-empty'], {
    env: { ...env, DATABASE_URL: empty.url },
  });
  expect([restored.code, restored.stdout], restored.stderr).toEqual([
    0,
    expect.stringContaining('every invariant holds'),
  ]);
});

test('restore --into-empty touches no schema where there is work, and makes none for a file that is no backup', async () => {
  const version = 'select max(version) as version from ops_migrations';
  const [{ version: latest } = {}] = await source.sql<{ version: string }>(version);
  const release = 'update ops_migrations set version = $1 where version = $2';
  await source.sql(release, ['0000', latest]);
  onTestFinished(async () => void (await source.sql(release, [latest, '0000'])));
  const before = await source.sql(version);
  const run = (url: string, name: string) =>
    callCli(['restore', name, '--into-empty'], { DATABASE_URL: url, OPS_LOG_LEVEL: 'fatal' });
  expect(await run(source.url, file)).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('not empty'),
  });
  expect(await source.sql(version)).toEqual(before);
  const empty = await target({ content: 'empty' });
  const notes = join(home, 'notes.gz');
  await writeFile(notes, gzipSync('hello\n'));
  expect(await run(empty.url, notes)).toMatchObject({ code: 2 });
  const older = join(home, 'older.gz');
  const text = gunzipSync(await readFile(file)).toString();
  await writeFile(older, gzipSync(text.replace(/"schema":"\d{4}"/, '"schema":"0007"')));
  expect(await run(empty.url, older)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('OPS_013  the backup is of schema 0007, this release makes'),
  });
  expect(await empty.sql("select to_regclass('public.ops_policy') as made")).toEqual([{ made: null }]);
});
