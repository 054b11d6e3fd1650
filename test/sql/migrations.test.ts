import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listMigrations, migrate, seed, verifyMigrations } from '../../local/migrations.js';
import { useDatabase } from '../support/database.js';
import { until } from '../support/until.js';

describe('the shipped migrations', () => {
  describe('on an empty database', () => {
    const database = useDatabase({ content: 'empty' });

    it('are each applied once by twenty installers at the same time', async () => {
      const files = (await listMigrations()).map(({ file }) => file);
      const runs = await Promise.all(Array.from({ length: 20 }, () => migrate(database.url)));
      expect(files.length).toBeGreaterThan(0);
      expect(runs.flatMap(({ applied }) => applied).sort()).toEqual(files);
      for (const { applied, present } of runs) expect([...applied, ...present].sort()).toEqual(files);
      expect(
        (await verifyMigrations(database.url)).every(
          ({ status, checked }) => status === 'applied' && checked,
        ),
      ).toBe(true);
    });

    it('and the seed run again without harm', async () => {
      await Promise.all([seed(database.url), seed(database.url)]);
      const policies = () => database.sql('select key, value, version from public.ops_policy order by key');
      const before = await policies();
      expect(before.length).toBeGreaterThanOrEqual(5);
      const { applied } = await migrate(database.url, { force: true });
      await seed(database.url);
      expect(applied).toEqual((await listMigrations()).map(({ file }) => file));
      expect(await policies()).toEqual(before);
    });
  });

  describe('beside a loop at work', () => {
    const database = useDatabase();

    it('that are all present wait for no table: whoever holds one is not disturbed', async () => {
      const worker = await database.connect();
      try {
        const tables = await database.sql<{ name: string }>(
          "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relname like 'ops\\_%' and relkind in ('r', 'p')",
        );
        await worker.query('begin');
        await worker.query(`lock table ${tables.map(({ name }) => name).join(', ')} in row exclusive mode`);
        const { applied } = await migrate(database.url, { lockTimeoutMs: 1_000 });
        expect(applied).toEqual([]);
      } finally {
        await worker.end();
      }
    });
  });

  describe('without the runner', () => {
    const database = useDatabase({ content: 'empty' });

    it('apply twice as plain statements, and are then known by name though unchecked', async () => {
      const files = await listMigrations();
      for (const { sql } of [...files, ...files]) await database.sql(sql);
      expect(await verifyMigrations(database.url)).toEqual(
        files.map(({ version, name }) => ({ version, name, status: 'applied', checked: false })),
      );
      expect((await migrate(database.url)).applied).toEqual([]);
    });
  });

  describe('run by a plain owner', () => {
    const database = useDatabase({ asOwner: true });

    it('need no superuser, no BYPASSRLS and no CREATEROLE', async () => {
      const role = await database.one(
        'select rolsuper, rolbypassrls, rolcreaterole from pg_roles where rolname = current_user',
      );
      expect(role).toEqual({ rolsuper: false, rolbypassrls: false, rolcreaterole: false });
      expect((await verifyMigrations(database.url)).map(({ status }) => status)).not.toContain('missing');
    });
  });
});

describe('a folder of migrations', () => {
  const database = useDatabase({ content: 'empty' });
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'migrations-'));
    await database.sql('drop schema public cascade; create schema public');
    await put('0001_first.sql', 'create table if not exists public.first (n int);');
    await put(
      '0002_second.sql',
      'create table if not exists public.second (n int);\ninsert into public.second values (1);',
    );
  });
  afterEach(() => rm(folder, { recursive: true }));

  const put = (file: string, sql: string) => writeFile(join(folder, file), sql);
  const statuses = async () =>
    (await verifyMigrations(database.url, { folder })).map(({ version, status }) => `${version} ${status}`);

  it('is applied in order, once, or again by force', async () => {
    const both = ['0001_first.sql', '0002_second.sql'];
    const asked: string[] = [];
    const onFile = (file: string) => void asked.push(file);
    expect(await migrate(database.url, { folder, onFile })).toEqual({ applied: both, present: [] });
    expect(await migrate(database.url, { folder, onFile })).toEqual({ applied: [], present: both });
    expect(await database.one('select count(*)::int as n from public.second')).toEqual({ n: 1 });
    expect(await migrate(database.url, { folder, onFile, force: true })).toEqual({
      applied: both,
      present: [],
    });
    expect(asked).toEqual([...both, ...both]);
  });

  it('is held against the database: missing, applied, changed, unknown', async () => {
    expect(await statuses()).toEqual(['0001 missing', '0002 missing']);
    await migrate(database.url, { folder });
    expect(await statuses()).toEqual(['0001 applied', '0002 applied']);
    await put('0002_second.sql', '-- edited after release');
    await put('0003_third.sql', 'select 1;');
    await rm(join(folder, '0001_first.sql'));
    expect(await statuses()).toEqual(['0001 unknown', '0002 changed', '0003 missing']);
  });

  it('stops at the file that fails, names its line, and keeps what went before', async () => {
    await put(
      '0003_bad.sql',
      '-- näher: 🙂\ncreate table public.third (n int);\nselect wrong from public.third;',
    );
    await put('0004_later.sql', 'create table public.fourth (n int);');
    await expect(migrate(database.url, { folder })).rejects.toMatchObject({
      code: 'OPS_013',
      message: '0003_bad.sql failed at line 3: column "wrong" does not exist',
      hint: expect.stringContaining('migrate again'),
      detail: { sqlstate: '42703' },
    });
    expect(await statuses()).toEqual(['0001 applied', '0002 applied', '0003 missing', '0004 missing']);
    expect(await database.one("select to_regclass('public.third') as third")).toEqual({ third: null });
  });

  it('gives up on a table lock and says what to do', async () => {
    await migrate(database.url, { folder });
    await put('0003_locked.sql', 'alter table public.first add column if not exists m int;');
    const reader = await database.connect();
    await reader.query('begin; select * from public.first');
    await expect(migrate(database.url, { folder, lockTimeoutMs: 50 })).rejects.toMatchObject({
      code: 'OPS_013',
      hint: expect.stringContaining('holds a lock'),
    });
    await reader.query('rollback');
    expect((await migrate(database.url, { folder })).applied).toEqual(['0003_locked.sql']);
  });

  it('waits for another installer longer than for a table lock', async () => {
    const other = await database.connect();
    await other.query(
      "begin; select pg_advisory_xact_lock(('x' || encode('ops_loop', 'hex'))::bit(64)::bigint)",
    );
    const waiting = migrate(database.url, { folder, lockTimeoutMs: 1 });
    await until(
      () =>
        database
          .sql("select from pg_locks where locktype = 'advisory' and not granted")
          .then((rows) => rows.length),
      { what: 'the installer waits for its turn' },
    );
    await other.query('commit');
    expect((await waiting).applied).toHaveLength(2);
  });

  it('may not hold a file that ends its transaction, has no number, or shares one', async () => {
    await put('0003_commit.sql', 'commit; begin;');
    await expect(migrate(database.url, { folder })).rejects.toMatchObject({ code: 'OPS_013' });
    await rm(join(folder, '0003_commit.sql'));
    await put('0002_twin.sql', 'select 1;');
    await expect(listMigrations(folder)).rejects.toMatchObject({ code: 'OPS_013' });
    await rm(join(folder, '0002_twin.sql'));
    await put('notes.sql', 'select 1;');
    await expect(listMigrations(folder)).rejects.toMatchObject({ code: 'OPS_013' });
  });

  it('on a server that is away fails with OPS_001', async () => {
    await expect(migrate('postgres://nobody@127.0.0.1:1/none', { folder })).rejects.toMatchObject({
      code: 'OPS_001',
    });
  });
});
