/** What the `pg` adapter does when the server says no, says nothing, or goes away. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromDatabase } from '../../supabase/client/errors.js';
import { type Database, openDatabase } from '../../supabase/client/pg.js';
import { until } from '../support/until.js';
import { blocked, inTransaction, noop, useEngine } from './engine-kit.js';

const engine = useEngine();
let database: Database;
/** Times a call took a connection out of the pool: tries. */
let tries = 0;

beforeAll(() => {
  // Looks for a deadlock almost at once, so that of two sessions this one is always the victim.
  database = openDatabase({
    connectionString: engine.db.url,
    max: 2,
    connectionTimeoutMillis: 2_000,
    options: '-c deadlock_timeout=10ms',
    statement_timeout: 20_000,
  });
  database.pool.on('acquire', () => {
    tries += 1;
  });
});
afterAll(() => database.close());

const missionOfTwo = () => engine.mission([noop('first'), noop('second')]);
const waitingBackends = async () =>
  (
    await engine.db.sql(
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    )
  ).length;
const lockMission = 'select from ops_missions where id = $1 for update';
const lockStep = "select from ops_mission_steps where mission_id = $1 and key = 'first' for update";
const lockOther = "select from ops_mission_steps where mission_id = $1 and key = 'second' for update";
/** Neither of these sessions may be the deadlock's victim. */
const patiently = "set deadlock_timeout = '20s'";

describe('a call that the server rolled back', () => {
  test('for a deadlock is made again, and succeeds', async () => {
    const id = await missionOfTwo();
    const first = await inTransaction(engine.db, lockStep, [id]);
    const second = await inTransaction(engine.db, lockOther, [id]);
    await second.query(patiently);
    tries = 0;
    const cancelled = database.port.cancelMission({ id });
    await blocked(engine.db, 1, 'the call waits for the first step');
    const crossing = second.query(lockMission, [id]);
    await blocked(engine.db, 2, 'the other session waits for the mission');
    // The call goes on to the second step and closes the circle.
    await first.query('rollback');
    await crossing;
    await second.query('rollback');
    expect(await cancelled).toEqual({ id, status: 'cancelled', steps: 2 });
    expect(tries).toBe(2);
  });

  test('again and again is given up with its error', async () => {
    const id = await missionOfTwo();
    const holder = await inTransaction(engine.db, lockMission, [id]);
    const hurried = openDatabase({ connectionString: engine.db.adminUrl, options: '-c lock_timeout=1ms' });
    let attempts = 0;
    hurried.pool.on('acquire', () => {
      attempts += 1;
    });
    await expect(hurried.port.cancelMission({ id })).rejects.toMatchObject({
      code: 'OPS_018',
      detail: { sqlstate: '55P03' },
    });
    expect(attempts).toBe(4);
    await hurried.close();
    await holder.query('rollback');
  });
});

describe('a value that the database cannot take', () => {
  test.each(['20000000-01-01T00:00:00Z', '2026-01-01T00:00:00+99:00'])(
    '%s is refused as input',
    async (since) => {
      const { code, hint } = await database.pool
        .query('select $1::timestamptz', [since])
        .then(() => ({ code: 'none', hint: undefined }), fromDatabase);
      expect({ code, hint }).toEqual({ code: 'OPS_011', hint: 'Correct the value and call again.' });
    },
  );
});

describe('a call without an answer', () => {
  test('in time rejects with OPS_001, and its connection is thrown away', async () => {
    const id = await missionOfTwo();
    const holder = await inTransaction(engine.db, lockMission, [id]);
    await database.port.schemaVersion();
    const before = database.pool.totalCount;
    await expect(database.port.cancelMission({ id }, { deadlineMs: 20 })).rejects.toMatchObject({
      code: 'OPS_001',
      message: 'ops_cancel_mission did not answer within 20 ms',
      hint: expect.stringContaining('outcome is unknown'),
    });
    expect(database.pool.totalCount).toBe(before - 1);
    // Well before its own statement timeout would end it.
    await until(async () => (await waitingBackends()) === 0, {
      what: 'the server to give it up too',
      deadlineMs: 10_000,
    });
    await holder.query('rollback');
    expect(await database.port.schemaVersion()).toMatch(/^\d{4}$/);
  });

  test('because its backend was terminated rejects with OPS_001, and the pool recovers', async () => {
    const id = await missionOfTwo();
    const holder = await inTransaction(engine.db, lockMission, [id]);
    const ended = expect(database.port.cancelMission({ id })).rejects.toMatchObject({ code: 'OPS_001' });
    const [pid] = await blocked(engine.db, 1, 'the call waits for the mission');
    await engine.db.sql('select pg_terminate_backend($1)', [pid]);
    await ended;
    await holder.query('rollback');
    expect(await database.port.cancelMission({ id })).toMatchObject({ id, status: 'cancelled' });
  });

  test('because every connection is busy rejects with OPS_001', async () => {
    const busy = openDatabase({ connectionString: engine.db.adminUrl, max: 1, connectionTimeoutMillis: 500 });
    const client = await busy.pool.connect();
    await expect(busy.port.schemaVersion()).rejects.toMatchObject({ code: 'OPS_001' });
    client.release();
    expect(await busy.port.schemaVersion()).toMatch(/^\d{4}$/);
    await busy.close();
  });

  test('is none when an idle connection was terminated meanwhile: the next call takes another', async () => {
    const direct = openDatabase({ connectionString: engine.db.adminUrl });
    const held = await direct.pool.connect();
    const pid = (await held.query('select pg_backend_pid() as pid')).rows[0].pid;
    held.release();
    await engine.db.sql('select pg_terminate_backend($1)', [pid]);
    await until(() => direct.pool.totalCount === 0, { what: 'the pool lets the dead connection go' });
    expect(await direct.port.schemaVersion()).toMatch(/^\d{4}$/);
    await direct.close();
  });
});

test('an SQL error leaves the connection in the pool', async () => {
  await database.port.schemaVersion();
  const before = database.pool.totalCount;
  const id = '00000000-0000-4000-8000-000000000000';
  await expect(database.port.cancelMission({ id })).rejects.toMatchObject({ code: 'OPS_012' });
  expect(database.pool.totalCount).toBe(before);
});
