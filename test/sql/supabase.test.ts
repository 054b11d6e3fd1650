/** The supabase-js adapter, through the stand-in for PostgREST: what differs from a connection of one's own. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { JsonText, stringify } from '../../supabase/client/json-text.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { parseProject } from '../../supabase/client/project.js';
import { maxRows, openSupabase } from '../../supabase/client/supabase.js';
import { createAnswerer } from '../../vercel/app/function.js';
import { createHeartbeatApp } from '../../vercel/app/heartbeat-app.js';
import { type Postgrest, type PostgrestOptions, startPostgrest } from '../support/postgrest.js';
import { blocked, inTransaction, noop, only, race, ref, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;
let server: Postgrest;
let port: OpsPort;
let interfere: NonNullable<PostgrestOptions['interfere']> | undefined;

const portWith = (key: string, url = server.url): OpsPort => openSupabase(parseProject(url, key)).port;

beforeAll(async () => {
  server = await startPostgrest({ databaseUrl: db.adminUrl, interfere: (path) => interfere?.(path) });
  port = portWith(server.keys.secret);
});
afterEach(() => {
  interfere = undefined;
  server.requests.length = 0;
});
afterAll(() => server.close());

const unknownId = '00000000-0000-4000-8000-000000000000';

describe('through the API', () => {
  test('a mission goes from its event to its end', async () => {
    const template = {
      title: 'work',
      steps: [noop('one'), noop('two', { params: { echo: '{{steps.one.result.n}}' } })],
    };
    await engine.patterns({ id: 'p', event_type: 'a:b', template });
    const [event] = await port.emitEvents({ events: [{ type: 'a:b', data: { n: 1 } }] });
    expect(event).toMatchObject({ created: true, duplicate_of: null });
    expect(await port.heartbeat({ source: 'test' })).toMatchObject({
      ok: true,
      triggerResult: { events: 1, queued: 1 },
    });
    const instance = crypto.randomUUID();
    expect(
      await port.registerWorker({ name: 'w', instance, host: 'h', pid: 1, executors: [] }),
    ).toMatchObject({ accepted: true });
    for (const n of [1, 2]) {
      const step = only(await port.claimSteps({ worker: 'w', executors: ['noop'], limit: 5 }));
      expect(only(await port.renewLeases({ worker: 'w', leases: [ref(step)] }))).toMatchObject({
        held: true,
      });
      await port.completeSteps({ worker: 'w', results: [{ ...ref(step), result: { n } }] });
    }
    expect(await db.sql('select status, params from ops_mission_steps order by position')).toMatchObject([
      { status: 'succeeded' },
      { status: 'succeeded', params: { echo: 1 } },
    ]);
    expect(await port.gateProposal({ id: unknownId })).toMatchObject({ ok: false });
    expect((await port.listMissions({ status: 'succeeded' })).map(({ title }) => title)).toEqual(['work']);
  });

  test('what went out of JavaScript whole arrives digit by digit', async () => {
    const text = '{"id": 9007199254740993123, "deep": [1.50, -0.000000000000000000001]}';
    const [sent] = await port.emitEvents({ events: [{ type: 'big:number', data: new JsonText(text) }] });
    expect(
      await db.one(
        "select data ->> 'id' as id, data #>> '{deep,1}' as small from ops_agent_events where id = $1",
        [sent?.id],
      ),
    ).toEqual({
      id: '9007199254740993123',
      small: '-0.000000000000000000001',
    });
  });

  test('a policy comes back digit by digit, to be written again', async () => {
    const value = new JsonText('{"max_depth":5.00}');
    await port.setPolicy({ key: 'loop_limits', value });
    const [latest] = await port.listPolicyVersions({ key: 'loop_limits', limit: 1 });
    const read = [(await port.getPolicy({ key: 'loop_limits' })).value, latest?.value];
    expect(read.map((one) => stringify(one))).toEqual([value.text, value.text]);
  });

  test('text arrives as it is, and what no JSON of the database can hold is OPS_011', async () => {
    const data = { text: 'ü – 🙂 "\\ \n {{x}}', __proto__: null };
    const { id } = await port.emitEvent({ type: 'a:b', data });
    expect(await db.one('select data from ops_agent_events where id = $1', [id])).toEqual({
      data: { text: data.text },
    });
    for (const bad of ['a\u0000b', '\ud800'])
      await expect(port.emitEvent({ type: 'a:b', data: { bad } }), JSON.stringify(bad)).rejects.toMatchObject(
        { code: 'OPS_011' },
      );
  });

  test('rows and times are what a connection of our own answers', async () => {
    await engine.mission([noop('a')]);
    await engine.emit('a:b', { n: 1 });
    for (const ask of [
      'status',
      'listPolicies',
      'listSchedules',
      'workerConfig',
      'checkInvariants',
      'listBudgets',
    ] as const)
      expect(await port[ask](), ask).toEqual(await engine.port[ask]());
    const [here, there] = [await port.listMissions(), await engine.port.listMissions()];
    expect(here).toEqual(there);
    expect(here).toMatchObject([{ created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+\+00:00$/) }]);
  });

  test('functions that only read run read-only, and none of ours minds', async () => {
    const { names } = await db.one<{ names: string[] }>(
      "select array_agg(p.proname::text) as names from pg_proc p join ops_grant_list() g on g.function_name = p.proname where p.provolatile <> 'v'",
    );
    expect(names.length).toBeGreaterThan(20);
    for (const name of [
      'status',
      'health',
      'listKeys',
      'keyProblems',
      'llmHealth',
      'schedulesToPlan',
      'schemaVersion',
    ] as const)
      await port[name]();
  });

  test('the history of a policy names the role of the key', async () => {
    await port.setPolicy({ key: 'loop_limits', value: { max_depth: 5 }, reason: 'x' });
    const [latest] = await port.listPolicyVersions({ key: 'loop_limits', limit: 1 });
    expect(latest).toMatchObject({ reason: 'x', session_role: 'authenticator' });
  });
});

describe('a key', () => {
  test('of the new kind goes out as apikey alone, of the legacy kind as bearer too', async () => {
    await port.schemaVersion();
    await portWith(server.keys.service).schemaVersion();
    const [secret, legacy] = server.requests.map(({ headers }) => headers);
    expect([secret?.apikey, secret?.authorization]).toEqual([server.keys.secret, undefined]);
    expect([legacy?.apikey, legacy?.authorization]).toEqual([
      server.keys.service,
      `Bearer ${server.keys.service}`,
    ]);
  });

  test('that is revoked or expired is refused with OPS_001, and waiting would not help', async () => {
    const expired = server.sign({ role: 'service_role', exp: 1 });
    for (const key of ['sb_secret_revoked', expired])
      await expect(portWith(key).schemaVersion()).rejects.toMatchObject({
        code: 'OPS_001',
        hint: expect.stringContaining('SUPABASE_SERVICE_ROLE_KEY'),
        cause: { code: '28000' },
      });
  });

  test.each(['anon', 'authenticated'])('of %s may call no function of ours', async (role) => {
    const token = role === 'anon' ? server.keys.anon : server.sign({ role });
    for (const fn of [
      'ops_health',
      'ops_claim_steps',
      'ops_emit_event',
      'ops_set_policy',
      'ops_schema_version',
    ]) {
      const args =
        {
          ops_claim_steps: { p_worker: 'w', p_executors: [] },
          ops_emit_event: { p_type: 'a:b' },
          ops_set_policy: { p_key: 'switches', p_value: {} },
        }[fn] ?? {};
      const response = await fetch(`${server.url}/rest/v1/rpc/${fn}`, {
        method: 'POST',
        headers: {
          'Content-Type': 'application/json',
          apikey: server.keys.anon,
          Authorization: `Bearer ${token}`,
        },
        body: JSON.stringify(args),
      });
      expect([response.status, Object(await response.json()).code], fn).toEqual([
        role === 'anon' ? 401 : 403,
        '42501',
      ]);
    }
  });

  test('is in no error and no message', async () => {
    const errors = await Promise.all([
      portWith('sb_secret_canary')
        .schemaVersion()
        .catch((error: unknown) => error),
      portWith('sb_secret_canary', 'http://127.0.0.1:1')
        .schemaVersion()
        .catch((error: unknown) => error),
    ]);
    for (const error of errors) {
      expect(error).toMatchObject({ code: 'OPS_001' });
      expect(JSON.stringify(error) + String(error)).not.toContain('canary');
    }
  });
});

describe('an error', () => {
  test('of the engine keeps code, message, detail and hint', async () => {
    const thrown = (ask: OpsPort) =>
      ask.setPolicy({ key: 'proposal_caps', value: { daily_limit: 'x' } }).catch((error: unknown) => error);
    const [here, there] = [await thrown(port), await thrown(engine.port)];
    expect(here).toMatchObject({ code: 'OPS_008', message: expect.stringContaining('daily_limit') });
    expect(JSON.stringify(here)).toBe(JSON.stringify(there));
    await expect(port.cancelMission({ id: unknownId })).rejects.toMatchObject({ code: 'OPS_012' });
  });

  test('of a function that is not there is OPS_013', async () => {
    await db.sql('alter function ops_schema_version() rename to ops_schema_version_away');
    const fresh = await startPostgrest({ databaseUrl: db.adminUrl });
    try {
      await expect(portWith(fresh.keys.secret, fresh.url).schemaVersion()).rejects.toMatchObject({
        code: 'OPS_013',
        hint: expect.stringContaining('reload schema'),
      });
    } finally {
      await fresh.close();
      await db.sql('alter function ops_schema_version_away() rename to ops_schema_version');
    }
  });

  test.each([
    [502, '<html>bad gateway</html>', 'OPS_001'],
    [540, '{"message":"project paused"}', 'OPS_001'],
    [429, '', 'OPS_001'],
    [503, '{"code":"PGRST000","message":"no connection","details":null,"hint":null}', 'OPS_001'],
    [504, '{"code":"PGRST003","message":"pool","details":null,"hint":null}', 'OPS_001'],
    [503, '{"code":"53300","message":"too many clients","details":null,"hint":null}', 'OPS_001'],
    [500, '{"code":"57P01","message":"shutdown","details":null,"hint":null}', 'OPS_001'],
    [500, '{"code":"57014","message":"canceled","details":null,"hint":null}', 'OPS_018'],
    [406, '{"code":"PGRST106","message":"Invalid schema","details":null,"hint":null}', 'OPS_016'],
    [404, '<html>nothing here</html>', 'OPS_016'],
    [404, '', 'OPS_016'],
    [200, '<html>a page</html>', 'OPS_016'],
  ])('of the gateway, %i with %s, is %s and quotes no page', async (status, body, code) => {
    interfere = () => ({ status, body });
    const error = await port.schemaVersion().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code, hint: expect.stringMatching(/\w/) });
    expect(String(error)).not.toContain('<html>');
  });

  test('of the network is OPS_001 with its reason', async () => {
    await expect(portWith(server.keys.secret, 'http://127.0.0.1:1').schemaVersion()).rejects.toMatchObject({
      code: 'OPS_001',
      message: expect.stringMatching(/127\.0\.0\.1:1 .*(ECONNREFUSED|bad port)/),
    });
    interfere = () => ({ status: 0, hangUp: true });
    await expect(port.schemaVersion()).rejects.toMatchObject({ code: 'OPS_001' });
  });

  test('of a redirect is one: nobody else gets the key', async () => {
    interfere = (path) =>
      path === '/elsewhere' ? { status: 200, body: '"0001"' } : { status: 307, location: '/elsewhere' };
    await expect(port.schemaVersion()).rejects.toMatchObject({ code: expect.stringMatching(/OPS_0(01|16)/) });
    expect(server.requests).toHaveLength(1);
  });
});

describe('a call', () => {
  test('without an answer in time rejects with OPS_001, and the outcome is unknown', async () => {
    const id = await engine.mission([noop('a')]);
    const holder = await inTransaction(db, 'select from ops_missions where id = $1 for update', [id]);
    await expect(port.cancelMission({ id }, { deadlineMs: 50 })).rejects.toMatchObject({
      code: 'OPS_001',
      message: 'ops_cancel_mission did not answer within 50 ms',
    });
    await holder.query('rollback');
  });

  test('that takes longer than the API allows its login role is ended by the server, and says so', async () => {
    const hurried = await startPostgrest({ databaseUrl: db.adminUrl, timeoutMs: 100 });
    const id = await engine.mission([noop('a')]);
    const holder = await inTransaction(db, 'select from ops_missions where id = $1 for update', [id]);
    try {
      await expect(portWith(hurried.keys.secret, hurried.url).cancelMission({ id })).rejects.toMatchObject({
        code: 'OPS_018',
        detail: { sqlstate: '57014' },
        hint: expect.stringContaining('8 s'),
      });
    } finally {
      await holder.query('rollback');
      await hurried.close();
    }
  });

  test('that the server rolled back for a deadlock is made again', async () => {
    const id = await engine.mission([noop('first'), noop('second')]);
    const lock = (what: string) =>
      `select from ops_mission_steps where mission_id = $1 and key = '${what}' for update`;
    const first = await inTransaction(db, lock('first'), [id]);
    const second = await inTransaction(db, lock('second'), [id]);
    await second.query("set local deadlock_timeout = '20s'");
    const cancelled = port.cancelMission({ id }, { deadlineMs: 20_000 });
    await blocked(db, 1, 'the call waits for the first step');
    const crossing = second.query('select from ops_missions where id = $1 for update', [id]);
    await blocked(db, 2, 'the other session waits for the mission');
    await first.query('rollback');
    await crossing;
    await second.query('rollback');
    expect(await cancelled).toMatchObject({ status: 'cancelled', steps: 2 });
    expect(server.requests.map(({ status }) => status)).toEqual([500, 200]);
  });
});

describe('an answer of many rows', () => {
  test('asks for no more than the API lets through', async () => {
    await port.listMissions({ limit: 5_000 });
    expect(JSON.parse(only(server.requests).body)).toEqual({ p_limit: maxRows });
    const events = Array.from({ length: maxRows + 1 }, () => ({ type: 'a:b' }));
    await expect(port.emitEvents({ events })).rejects.toMatchObject({ code: 'OPS_011' });
    expect(await port.emitEvents({ events: events.slice(1) })).toHaveLength(maxRows);
  });

  test('that the API cut is OPS_016 and not less work than there is', async () => {
    const narrow = await startPostgrest({ databaseUrl: db.adminUrl, maxRows: 2 });
    try {
      const { emitEvents, listPolicies } = portWith(narrow.keys.secret, narrow.url);
      expect(await emitEvents({ events: [{ type: 'a:b' }, { type: 'a:b' }] })).toHaveLength(2);
      await expect(listPolicies()).rejects.toMatchObject({
        code: 'OPS_016',
        hint: expect.stringContaining('Max rows'),
      });
    } finally {
      await narrow.close();
    }
  });
});

test('the functions on Vercel beat through the API, and say what is missing of it', async () => {
  const variables = { SUPABASE_URL: server.url, OPS_API_KEY: 'k'.repeat(32), OPS_LOG_LEVEL: 'silent' };
  const beatWith = async (more: Record<string, string>) => {
    const answer = createAnswerer(createHeartbeatApp, { ...variables, ...more });
    const headers = { Authorization: `Bearer ${variables.OPS_API_KEY}` };
    const request = new Request('https://ops.example/api/ops/heartbeat', { method: 'POST', headers });
    const response = await answer(request);
    return [response.status, await response.json()];
  };
  await engine.emit('a:b');
  expect(await beatWith({ SUPABASE_SERVICE_ROLE_KEY: server.keys.secret })).toMatchObject([
    200,
    { ok: true, triggerResult: { events: 1 } },
  ]);
  expect(await beatWith({})).toMatchObject([
    500,
    { code: 'OPS_016', detail: expect.stringContaining('SUPABASE_SERVICE_ROLE_KEY') },
  ]);
});

test('twenty claims at once share the steps, each one once', async () => {
  for (let n = 0; n < 5; n++)
    await engine.mission(Array.from({ length: 20 }, (_, i) => noop(`s${i}`, { depends_on: [] })));
  const claims = await race(20, (n) => port.claimSteps({ worker: `w${n}`, executors: ['noop'], limit: 10 }));
  const ids = claims.flat().map(({ id }) => id);
  expect([ids.length, new Set(ids).size]).toEqual([100, 100]);
});
