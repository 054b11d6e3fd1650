/** Workers: names unique among the living, executors whose traits only get stricter, and wake-ups that cost nothing. */
import { randomUUID } from 'node:crypto';
import type { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ExecutorRegistration } from '../../supabase/client/schemas/inputs.js';
import { advanceClock } from '../support/clock.js';
import { until } from '../support/until.js';
import { inTransaction, noop, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const register = (
  name: string,
  more: { instance?: string; takeover?: boolean; executors?: ExecutorRegistration[] } = {},
) => engine.port.registerWorker({ name, instance: randomUUID(), host: 'h', pid: 1, executors: [], ...more });

describe('a name', () => {
  test('is given to one of many that ask at once, and the others learn who has it', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => register('w')));
    expect(answers.filter(({ accepted }) => accepted)).toHaveLength(1);
    const { instance } = await db.one('select instance from ops_workers');
    for (const { accepted, holder } of answers)
      if (!accepted) expect(holder).toMatchObject({ instance, host: 'h', pid: 1 });
  });

  test('is free after a goodbye, a minute of silence, or a takeover, and for the same instance', async () => {
    const instance = randomUUID();
    await register('w', { instance });
    expect(await register('w', { instance })).toMatchObject({ accepted: true });
    expect(await register('w')).toMatchObject({ accepted: false });
    await advanceClock(db.sql, '61 seconds');
    expect(await register('w')).toMatchObject({ accepted: true });
    expect(await register('w', { instance, takeover: true })).toMatchObject({ accepted: true, holder: null });
    expect(await engine.port.unregisterWorker({ name: 'w', instance: randomUUID() })).toEqual({
      removed: false,
    });
    expect(await engine.port.unregisterWorker({ name: 'w', instance })).toEqual({ removed: true });
    expect(await register('w')).toMatchObject({ accepted: true });
  });

  test('stays taken while its worker renews or looks for work', async () => {
    await register('w');
    await engine.mission([noop('one')]);
    const leases = await engine.claim(1, ['noop'], 600);
    await advanceClock(db.sql, '50 seconds');
    await engine.renew(leases, 600);
    await advanceClock(db.sql, '50 seconds');
    expect(await register('w')).toMatchObject({ accepted: false });
    await engine.port.workerIdle({ worker: 'w', executors: ['noop'] });
    await advanceClock(db.sql, '50 seconds');
    expect(await register('w')).toMatchObject({ accepted: false });
  });

  test('that was given to another is refused to the one that had it, which then renews nothing', async () => {
    const [old, young] = [randomUUID(), randomUUID()];
    await register('w', { instance: old });
    await engine.mission([noop('one')]);
    const leases = (await engine.claim(1, ['noop'], 600)).map(({ id, lease_epoch }) => ({
      ...{ step_id: id, lease_epoch },
    }));
    const renew = (instance?: string) =>
      engine.port.renewLeases({ worker: 'w', leases, leaseSeconds: 600, ...(instance && { instance }) });
    const idle = (instance?: string) =>
      engine.port.workerIdle({ worker: 'w', executors: ['noop'], ...(instance && { instance }) });
    expect(await renew(old)).toMatchObject([{ held: true }]);
    await advanceClock(db.sql, '61 seconds');
    await register('w', { instance: young });
    await advanceClock(db.sql, '30 seconds');
    const rows = () =>
      db.sql('select seen_at, lease_expires_at from ops_workers cross join ops_mission_steps');
    const before = await rows();
    for (const call of [renew, idle])
      await expect(call(old)).rejects.toMatchObject({
        code: 'OPS_006',
        message: expect.stringContaining('the worker name w was given to process 1 on host h'),
        hint: expect.stringContaining('--name'),
      });
    expect(await rows()).toEqual(before);
    expect(await renew(young)).toMatchObject([{ held: true }]);
    // Workers of before do not name themselves.
    expect(await renew()).toMatchObject([{ held: true }]);
    expect(await idle()).toMatchObject({ next_due_at: null });
    await db.sql('delete from ops_workers');
    expect(await renew(old)).toMatchObject([{ held: true }]);
  });
});

describe('an executor', () => {
  const traits = (name: string) =>
    db.one('select idempotent, risk, local_limit from ops_executors where name = $1', [name]);
  const executor = (
    name: string,
    idempotent: boolean,
    risk: 'low' | 'high' | 'critical',
  ): ExecutorRegistration => ({
    name,
    params_schema: { type: 'object' },
    traits: { idempotent, risk },
  });

  test('that is built in may get stricter by registration, never laxer', async () => {
    await register('w', {
      executors: [executor('openclaw', true, 'low'), executor('radar', false, 'critical')],
    });
    expect(await traits('openclaw')).toMatchObject({ idempotent: false, risk: 'high' });
    expect(await traits('radar')).toMatchObject({ idempotent: false, risk: 'critical' });
    await register('v', { executors: [executor('radar', true, 'low')] });
    expect(await traits('radar')).toMatchObject({ idempotent: false, risk: 'critical' });
    await db.sql("update ops_executors set idempotent = true, risk = 'low' where name = 'radar'");
  });

  test('that a worker brings is known to templates from then on, and is its own to change', async () => {
    const template = { title: 't', steps: [{ kind: 'deploy' }] };
    await expect(engine.port.createProposal({ template })).rejects.toMatchObject({ code: 'OPS_005' });
    await register('w', { executors: [executor('deploy', true, 'low')] });
    expect(await engine.port.createProposal({ template })).toMatchObject({ created: true });
    await register('v', { executors: [executor('deploy', false, 'high')] });
    expect(await traits('deploy')).toMatchObject({ idempotent: false, risk: 'high' });
    await db.sql("delete from ops_executors where name = 'deploy'");
  });

  test('of a refused registration is not written', async () => {
    await register('w');
    await register('w', { executors: [executor('deploy', true, 'low')] });
    expect(await db.sql("select from ops_executors where name = 'deploy'")).toEqual([]);
  });
});

describe('a wake-up', () => {
  let heard: { channel: string; payload?: string | undefined }[];
  let listener: Client;
  beforeEach(async () => {
    const mine: typeof heard = [];
    heard = mine;
    listener = await db.connect();
    listener.on('notification', (message) => mine.push(message));
    await listener.query('listen ops_steps; listen ops_events');
  });
  afterEach(() => listener.end());
  const idle = () => engine.port.workerIdle({ worker: 'w', executors: ['noop'] });
  /** What was heard since the last look. Notifications come in the order of their commits: a marker ends the list. */
  const soFar = async () => {
    await db.sql("notify ops_steps, 'marker'");
    const marker = () => heard.findIndex(({ payload }) => payload === 'marker');
    await until(() => marker() >= 0, { what: 'the marker is heard' });
    return heard
      .splice(0, marker() + 1)
      .slice(0, -1)
      .map(({ channel }) => channel);
  };

  test('is one per idle phase, however much work is made, and none under load', async () => {
    await engine.mission([noop('one')]);
    expect(await soFar()).toEqual([]);
    await idle();
    for (let n = 0; n < 5; n++) await engine.mission([noop('one')]);
    expect(await soFar()).toEqual(['ops_steps']);
    await idle();
    await idle();
    await engine.fail(await engine.claim(1), 'retryable');
    expect(await soFar()).toEqual(['ops_steps']);
  });

  test.each<[string, () => Promise<unknown>]>([
    ['a next step becomes ready', async () => engine.complete(await engine.claim(1))],
    ['a step is given back', async () => engine.release(await engine.claim(1))],
    [
      'a lease is recovered',
      async () => [await engine.claim(1, ['noop'], -1), await engine.port.recoverExpiredLeases()],
    ],
    [
      'a switch is resumed',
      async () => [
        await engine.port.pause({ scope: 'dispatch' }),
        await idle(),
        await engine.port.resume({ scope: 'dispatch' }),
      ],
    ],
  ])('comes when %s', async (_what, work) => {
    await engine.mission([noop('one'), noop('two')]);
    await idle();
    await work();
    expect(await soFar()).toContain('ops_steps');
  });

  test('of events comes for the one who waits for events', async () => {
    await db.sql("select ops_raise_flag('ops_events')");
    await db.sql("insert into ops_agent_events (type) values ('a:b')");
    await engine.emit('a:b');
    expect(await soFar()).toEqual(['ops_events']);
  });

  test('of events does not come for what nobody has to decide: an idle beat does not wake itself', async () => {
    await engine.patterns();
    const up = async () =>
      (await db.one("select waiting from ops_wakeups where channel = 'ops_events'")).waiting;
    for (let beats = 0; beats < 2; beats++) {
      await engine.port.heartbeat({ source: 'reactive' });
      expect(await up()).toBe(true);
    }
    await engine.mission([noop('one')]);
    await engine.port.heartbeat({ source: 'reactive' });
    await engine.complete(await engine.claim(1));
    expect(await up()).toBe(true);
    await engine.emit('a:b');
    expect(await up()).toBe(false);
  });

  test('that another transaction is about to send is not waited for', async () => {
    await idle();
    const other = await inTransaction(db, "select ops_wake('ops_steps')");
    await engine.mission([noop('one')]);
    expect(await soFar()).toEqual([]);
    await other.query('commit');
    expect(await soFar()).toEqual(['ops_steps']);
  });
});
