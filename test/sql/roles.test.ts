/** Who may do what: a plain owner, a worker that owns nothing, Supabase's roles under both of its default-grant regimes. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { migrate } from '../../local/migrations.js';
import { type Database, openDatabase } from '../../supabase/client/pg.js';
import { type TestDatabase, useDatabase } from '../support/database.js';
import { noop, only, ref, reviveByHand, useEngine } from './engine-kit.js';

const pattern = {
  id: 'p',
  event_type: 'a:b',
  template: {
    title: 'work',
    steps: [noop('one'), noop('two', { params: { echo: '{{steps.one.result.n}}' } })],
  },
};

/** A port under another role, as that role would log in. */
function usePortAs(role: string, db: TestDatabase): { readonly database: Database } {
  let opened: Database | undefined;
  beforeAll(() => {
    opened = openDatabase({ connectionString: db.adminUrl, max: 4, options: `-c role=${role}` });
  });
  afterAll(() => opened?.close());
  return {
    get database() {
      if (opened === undefined) throw new Error('the port is open from beforeAll to afterAll only');
      return opened;
    },
  };
}

describe.each([
  ['a superuser', {}],
  ['a plain owner', { asOwner: true }],
])('on a database of %s', (_whose, options) => {
  const engine = useEngine(options);
  const { db } = engine;
  const worker = usePortAs('ops_worker', db);
  const service = usePortAs('service_role', db);

  test('the whole loop runs with a worker that owns nothing', async () => {
    const { port } = worker.database;
    await engine.patterns(pattern);
    await service.database.port.emitEvent({ type: 'a:b' });
    await port.heartbeat({ source: 'reactive' });
    const instance = crypto.randomUUID();
    const registration = { name: 'w', instance, host: 'h', pid: 1, executors: [] };
    expect(await port.registerWorker(registration)).toMatchObject({ accepted: true });
    const claim = () => port.claimSteps({ worker: 'w', executors: ['noop'] });
    const first = (await claim()).map(ref);
    expect(await port.renewLeases({ worker: 'w', leases: first })).toMatchObject([{ held: true }]);
    await port.completeSteps({
      worker: 'w',
      results: first.map((lease) => ({ ...lease, result: { n: 1 } })),
    });
    await port.releaseSteps({ worker: 'w', leases: (await claim()).map(ref) });
    await port.failSteps({
      worker: 'w',
      failures: (await claim()).map((step) => ({ ...ref(step), outcome: 'permanent', error: 'x' })),
    });
    await db.sql(`${reviveByHand} where status = 'failed'`);
    await port.completeSteps({
      worker: 'w',
      results: (await claim()).map((step) => ({ ...ref(step), result: {} })),
    });
    await port.recoverExpiredLeases();
    await port.workerIdle({ worker: 'w', executors: ['noop'] });
    await port.radarAdd({ signals: [{ title: 'x' }] });
    await port.unregisterWorker({ name: 'w', instance });
    expect(await db.sql('select status from ops_missions')).toEqual([{ status: 'succeeded' }]);
    expect(await engine.port.checkInvariants()).toEqual([]);
  });

  test("operators' statements work for the owner", async () => {
    await engine.patterns(pattern);
    await db.sql(
      `update ops_policy set value = jsonb_set(value, '{patterns,0,event_type}', '"c:d"') where key = 'reaction_matrix'`,
    );
    await db.sql(`insert into ops_agent_events (type, data) values ('c:d', '{}')`);
    await db.sql(
      `insert into ops_mission_proposals (template) values ('{"title": "t", "steps": [{"kind": "noop"}]}')`,
    );
    await engine.beat();
    await engine.setPolicy('auto_approve', { enabled: false });
    const { id } = await engine.port.createProposal({ template: { title: 't', steps: [noop('a')] } });
    await db.sql("update ops_mission_proposals set status = 'approved' where id = $1", [id]);
    expect(await engine.claim()).toHaveLength(3);
    await expect(db.sql('delete from ops_mission_steps')).rejects.toMatchObject({ code: 'OP015' });
    await expect(db.sql('truncate ops_policy_history')).rejects.toMatchObject({ code: 'OP015' });
  });

  test.each(['ops_worker', 'service_role', 'anon', 'authenticated'])(
    '%s writes no table, and calls nothing that it was not given',
    async (role) => {
      const { pool } = (role === 'ops_worker' ? worker : service).database;
      const client = await pool.connect();
      try {
        await client.query(`set role ${role}`).catch(() => client.query(`reset role; set role ${role}`));
        const tables = await db.sql<{ name: string }>(
          "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v') and relname like 'ops%'",
        );
        for (const { name } of tables) {
          const read = client.query(`select from ${name} limit 1`);
          if (role === 'service_role') await read;
          else await expect(read, name).rejects.toMatchObject({ code: '42501' });
          await expect(client.query(`delete from ${name}`), name).rejects.toMatchObject({
            code: expect.stringMatching(/42501|55000/),
          });
        }
        for (const call of [
          "ops_raise_event('mission:failed', '{}')",
          "ops_settle('[]', 'running', null)",
          'ops_assert_grants()',
          "ops_refresh_patterns('{}', 1)",
        ])
          await expect(client.query(`select ${call}`), call).rejects.toMatchObject({ code: '42501' });
        if (role !== 'service_role') {
          await expect(client.query("select ops_set_policy('switches', '{}')")).rejects.toMatchObject({
            code: '42501',
          });
          await expect(client.query('select ops_approve_proposal(gen_random_uuid())')).rejects.toMatchObject({
            code: '42501',
          });
        }
        if (role === 'anon' || role === 'authenticated')
          await expect(client.query('select ops_health()')).rejects.toMatchObject({ code: '42501' });
      } finally {
        client.release(true);
      }
    },
  );
});

/** Every privilege that a role other than the owner holds on our objects, one line each. */
const privileges = async (db: TestDatabase): Promise<string[]> =>
  (
    await db.sql<{ line: string }>(`
      with ours as (
        select c.relname::text as name, a.grantee, a.privilege_type from pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
        where c.relnamespace = 'public'::regnamespace and c.relname like 'ops%' and c.relkind in ('r', 'v', 'S', 'm', 'p') and a.grantee <> c.relowner
        union all
        select p.oid::regprocedure::text, a.grantee, a.privilege_type from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        where p.pronamespace = 'public'::regnamespace and p.proname like 'ops%' and a.grantee <> p.proowner
        union all
        select c.relname || '.' || t.attname, a.grantee, a.privilege_type from pg_attribute t join pg_class c on c.oid = t.attrelid, aclexplode(t.attacl) a
        where c.relnamespace = 'public'::regnamespace and c.relname like 'ops%' and a.grantee <> c.relowner)
      select format('%s %s %s', coalesce(r.rolname, 'public'), o.privilege_type, o.name) as line from ours o left join pg_roles r on r.oid = o.grantee order by 1`)
  ).map(({ line }) => line);

describe('the privileges', () => {
  const without = useDatabase({ content: 'empty' });
  const granting = useDatabase({ content: 'empty' });
  const grantAll = ['tables', 'functions', 'sequences']
    .map(
      (what) =>
        `alter default privileges in schema public grant all on ${what} to anon, authenticated, service_role`,
    )
    .join(';');

  test("are the same under both of Supabase's default-grant regimes, and nothing for anon and authenticated", async () => {
    await without.sql('alter default privileges revoke execute on functions from public');
    await granting.sql(grantAll);
    await migrate(without.url);
    await migrate(granting.url);
    const matrix = await privileges(granting);
    expect(matrix).toEqual(await privileges(without));
    expect(matrix.filter((line) => /^(anon|authenticated|public) /.test(line))).toEqual([]);
    expect(
      matrix.filter((line) => line.startsWith('service_role ') && !/ (SELECT|EXECUTE) /.test(line)),
    ).toEqual([]);
    expect(matrix.filter((line) => line.startsWith('ops_worker ') && !line.includes(' EXECUTE '))).toEqual(
      [],
    );
    expect(matrix).toContain('service_role SELECT ops_mission_steps');
  });

  test('are asserted anew by every migration run, also on tables an operator made', async () => {
    await granting.sql(
      'create table ops_mission_steps_archive (like ops_mission_steps including all); grant all on ops_policy to anon; grant execute on function ops_health() to public',
    );
    expect((await privileges(granting)).filter((line) => /^(anon|public) /.test(line))).not.toEqual([]);
    await migrate(granting.url);
    expect((await privileges(granting)).filter((line) => /^(anon|authenticated|public) /.test(line))).toEqual(
      [],
    );
    expect(
      await granting.one(
        "select relrowsecurity, relforcerowsecurity from pg_class where relname = 'ops_mission_steps_archive'",
      ),
    ).toEqual({
      relrowsecurity: true,
      relforcerowsecurity: true,
    });
  });
});

describe('the catalog', () => {
  const db = useDatabase();
  const lines = async (query: string) => (await db.sql<{ line: string }>(query)).map(({ line }) => line);
  const functions = "pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname like 'ops\\_%'";
  const relations = "pg_class c where c.relnamespace = 'public'::regnamespace and c.relname like 'ops\\_%'";

  test('has a search path pinned in every function whose body is looked up at run time', async () => {
    expect(
      await lines(
        `select p.oid::regprocedure::text as line from ${functions} and p.prosqlbody is null and not coalesce('search_path=""' = any (p.proconfig), false)`,
      ),
    ).toEqual([]);
  });

  test('has a reason in the comment of every definer, and no definer without need', async () => {
    expect(
      await lines(
        `select p.oid::regprocedure::text as line from ${functions} and p.prosecdef and coalesce(obj_description(p.oid, 'pg_proc'), '') !~ 'Definer: \\S'`,
      ),
    ).toEqual([]);
    expect(
      await lines(`select p.oid::regprocedure::text as line from ${functions} and p.prosecdef and p.prorettype <> 'trigger'::regtype
        and not exists (select from aclexplode(p.proacl) a where a.grantee <> p.proowner)`),
    ).toEqual([]);
  });

  test('has a comment on every table, view, column and function', async () => {
    expect(
      await lines(
        `select p.oid::regprocedure::text as line from ${functions} and coalesce(obj_description(p.oid, 'pg_proc'), '') = ''`,
      ),
    ).toEqual([]);
    expect(
      await lines(
        `select c.relname::text as line from ${relations} and c.relkind in ('r', 'v') and coalesce(obj_description(c.oid, 'pg_class'), '') = ''`,
      ),
    ).toEqual([]);
    expect(
      await lines(`select c.relname || '.' || a.attname as line from pg_attribute a join pg_class c on c.oid = a.attrelid
        where c.relnamespace = 'public'::regnamespace and c.relname like 'ops\\_%' and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
          and coalesce(col_description(c.oid, a.attnum), '') = ''`),
    ).toEqual([]);
  });

  test('has row-level security on and forced on every table, with one policy: all for the owner', async () => {
    expect(
      await lines(
        `select c.relname::text as line from ${relations} and c.relkind = 'r' and not (c.relrowsecurity and c.relforcerowsecurity)`,
      ),
    ).toEqual([]);
    const policies =
      await lines(`select format('%s %s %s', c.relname, (select string_agg(p.polname || ' ' || p.polcmd::text, ',') from pg_policy p where p.polrelid = c.oid),
      (select bool_and(p.polroles = array[c.relowner] and p.polpermissive) from pg_policy p where p.polrelid = c.oid)) as line from ${relations} and c.relkind = 'r'`);
    for (const line of policies) expect(line).toMatch(/^\w+ ops_owner \* t$/);
    expect(policies.length).toBeGreaterThan(15);
  });

  test("has no view that reads with its owner's rights, and nothing that ties operators' hands", async () => {
    expect(
      await lines(
        `select c.relname::text as line from ${relations} and c.relkind = 'v' and not coalesce('security_invoker=true' = any (c.reloptions), false)`,
      ),
    ).toEqual([]);
    expect(
      await lines(`select c.relname || '.' || a.attname as line from pg_attribute a join pg_class c on c.oid = a.attrelid
        where c.relname like 'ops\\_%' and c.relkind = 'r' and (a.attgenerated <> '' or a.attidentity = 'a')`),
    ).toEqual([]);
    const tied = "array['ops_mission_steps', 'ops_action_runs', 'ops_agent_events']::regclass[]";
    expect(
      await lines(
        `select conname::text as line from pg_constraint where contype = 'f' and (confrelid = any (${tied}) or conrelid = any (${tied}))`,
      ),
    ).toEqual([]);
    expect(only(await db.sql("select to_regclass('ops_mission_steps_archive') as taken"))).toEqual({
      taken: null,
    });
  });
});
