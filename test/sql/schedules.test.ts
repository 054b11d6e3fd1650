/** Schedules: one event per slot whoever beats first, by the clock of the named place. */
import { describe, expect, test } from 'vitest';
import { runBeat } from '../../supabase/client/beat.js';
import { nextSlots, slotsBetween } from '../../supabase/client/schedules.js';
import { advanceClock, setClock } from '../support/clock.js';
import { type Json, only, race, raceRounds, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

type Schedule = { [key: string]: Json };
const schedule = (more: Schedule = {}): Schedule => ({
  id: 'report',
  cron: '0 * * * *',
  event: { type: 'report:due', data: { kind: 'hour' } },
  ...more,
});
const schedules = (...list: Schedule[]) => engine.setPolicy('schedules', { schedules: list });
const beat = () => runBeat(engine.port, { source: 'reactive' });
/** The slots that raised an event, as hours and minutes of the day. */
const raised = async (): Promise<string[]> =>
  (
    await db.sql<{ slot: string }>(
      "select to_char((data ->> 'slot_at')::timestamptz at time zone 'UTC', 'DD HH24:MI') as slot from ops_agent_events where source = 'schedule' order by created_at",
    )
  ).map(({ slot }) => slot);
const missed = () =>
  db.sql("select data - 'from' - 'until' as data from ops_agent_events where type = 'schedule:missed'");

describe('a slot', () => {
  test('raises its event once, with its data, and no pattern fires twice', async () => {
    await setClock(db.sql, { at: '2026-03-02T09:30:00Z' });
    await schedules(schedule());
    await beat();
    expect(await raised()).toEqual([]);
    await setClock(db.sql, { at: '2026-03-02T10:00:00Z' });
    expect(await beat()).toMatchObject({ ok: true, scheduleResult: { fired: 1, missed: 0, unplanned: 0 } });
    await beat();
    const event = await db.one(
      "select type, source, trust, data from ops_agent_events where source = 'schedule'",
    );
    expect(event).toMatchObject({
      type: 'report:due',
      trust: 'loop',
      data: { kind: 'hour', schedule_id: 'report' },
    });
    expect(await raised()).toEqual(['02 10:00']);
  });

  test('is raised once however many beat at once', async () => {
    for (let round = 0; round < raceRounds; round++) {
      await setClock(db.sql, { at: '2026-03-02T09:59:00Z' });
      await schedules(schedule({ cron: '* * * * *' }));
      await setClock(db.sql, { at: '2026-03-02T10:05:30Z' });
      await race(20, () => beat());
      expect(await raised()).toHaveLength(6);
      await engine.forget();
    }
  });

  test('is raised by a beat of SQL alone once it is planned', async () => {
    await setClock(db.sql, { at: '2026-03-02T09:30:00Z' });
    await schedules(schedule());
    await beat();
    await setClock(db.sql, { at: '2026-03-02T15:01:00Z' });
    await db.sql("select ops_heartbeat(p_source => 'pg_cron')");
    expect(await raised()).toEqual(['02 15:00']);
  });
});

describe('slots that passed while nobody beat', () => {
  const sleep = async (more: Schedule) => {
    await setClock(db.sql, { at: '2026-03-02T09:30:00Z' });
    await schedules(schedule(more));
    await beat();
    await setClock(db.sql, { at: '2026-03-02T13:30:00Z' });
    await beat();
  };
  test.each([
    ['none', { missed: 'skip' }, [], 4],
    ['the latest', { missed: 'one' }, ['02 13:00'], 3],
    ['the latest, when nothing is said,', {}, ['02 13:00'], 3],
    ['each', { missed: 'all' }, ['02 10:00', '02 11:00', '02 12:00', '02 13:00'], 0],
    ['each as far as the look back,', { missed: 'all', look_back_minutes: 120 }, ['02 12:00', '02 13:00'], 2],
  ])('raise %s, and what is let go is told', async (_, more, slots, gone) => {
    await sleep(more);
    expect(await raised()).toEqual(slots);
    expect(await missed()).toEqual(gone === 0 ? [] : [{ data: { schedule_id: 'report', missed: gone } }]);
  });

  test('are found again after days of silence, as far as the look back', async () => {
    await sleep({ missed: 'all', look_back_minutes: 2880 });
    await setClock(db.sql, { at: '2026-03-08T00:30:00Z' });
    await beat();
    expect(await raised()).toHaveLength(4 + 48);
  });

  test('by a few minutes are on time', async () => {
    await setClock(db.sql, { at: '2026-03-02T09:58:30Z' });
    await schedules(schedule({ cron: '* * * * *', missed: 'skip' }));
    await beat();
    await setClock(db.sql, { at: '2026-03-02T10:03:10Z' });
    await beat();
    expect(await raised()).toEqual(['02 09:59', '02 10:00', '02 10:01', '02 10:02', '02 10:03']);
  });
});

describe('an edit', () => {
  test('begins with itself: neither what passed before nor what the old one had planned comes', async () => {
    await setClock(db.sql, { at: '2026-03-02T09:30:00Z' });
    await schedules(schedule());
    await beat();
    await schedules(schedule({ cron: '45 * * * *' }));
    await setClock(db.sql, { at: '2026-03-02T10:46:00Z' });
    await beat();
    expect(await raised()).toEqual(['02 10:45']);
  });

  test('that keeps a slot does not raise it again', async () => {
    await setClock(db.sql, { at: '2026-03-02T09:59:00Z' });
    await schedules(schedule());
    await beat();
    await setClock(db.sql, { at: '2026-03-02T10:00:00Z' });
    await beat();
    await schedules(schedule({ event: { type: 'report:due', data: {} } }));
    await beat();
    expect(await raised()).toEqual(['02 10:00']);
  });

  test('that switches it off, or a pause of the heartbeat, raises nothing', async () => {
    await setClock(db.sql, { at: '2026-03-02T09:59:00Z' });
    await schedules(schedule(), schedule({ id: 'off', enabled: false }));
    await beat();
    await engine.port.pause({ scope: 'heartbeat' });
    await setClock(db.sql, { at: '2026-03-02T10:00:00Z' });
    await beat();
    expect(await raised()).toEqual([]);
    await engine.port.resume({ scope: 'heartbeat' });
    await beat();
    expect(await raised()).toEqual(['02 10:00']);
  });
});

describe('the clock of a place', () => {
  const berlin = (cron: string, from: string, until: string) =>
    slotsBetween({ cron, timeZone: 'Europe/Berlin', from: new Date(from), until: new Date(until) }).slots.map(
      (slot) => slot.toISOString(),
    );
  test('keeps nine in the morning through both changes of the clocks', () => {
    expect(berlin('0 9 * * *', '2026-03-27T12:00:00Z', '2026-03-30T12:00:00Z')).toEqual([
      '2026-03-28T08:00:00.000Z',
      '2026-03-29T07:00:00.000Z',
      '2026-03-30T07:00:00.000Z',
    ]);
    expect(berlin('0 9 * * *', '2026-10-24T12:00:00Z', '2026-10-26T12:00:00Z')).toEqual([
      '2026-10-25T08:00:00.000Z',
      '2026-10-26T08:00:00.000Z',
    ]);
  });
  test('raises a time that does not exist once, and one that comes twice once', () => {
    expect(berlin('30 2 * * *', '2026-03-28T12:00:00Z', '2026-03-29T12:00:00Z')).toHaveLength(1);
    expect(berlin('30 2 * * *', '2026-10-24T12:00:00Z', '2026-10-25T12:00:00Z')).toHaveLength(1);
  });
  test('is the one of the policy', async () => {
    await setClock(db.sql, { at: '2026-03-28T20:00:00Z' });
    await schedules(schedule({ cron: '0 9 * * *', time_zone: 'Europe/Berlin' }));
    await beat();
    await setClock(db.sql, { at: '2026-03-29T07:01:00Z' });
    await beat();
    expect(await raised()).toEqual(['29 07:00']);
  });
  test('says when the next ones come', () => {
    const next = nextSlots('0 0 1 JAN *', 'UTC', new Date('2026-03-01T00:00:00Z'), 2);
    expect(next.map((slot) => slot.getUTCFullYear())).toEqual([2027, 2028]);
  });
});

describe('a schedule that cannot be', () => {
  test.each([
    ['61 * * * *', '$.schedules[0].cron'],
    ['* * * *', '$.schedules[0].cron'],
    ['* 24 * * *', '$.schedules[0].cron'],
    ['@daily', '$.schedules[0].cron'],
    ['* 17-9 * * *', '$.schedules[0].cron'],
  ])('%s is refused at write', async (cron, path) => {
    await expect(schedules(schedule({ cron }))).rejects.toMatchObject({
      code: 'OP008',
      message: expect.stringContaining(path),
    });
  });
  test('is refused when it would raise what the loop raises itself', async () => {
    await expect(schedules(schedule({ event: { type: 'step:noop:failed' } }))).rejects.toMatchObject({
      code: 'OP008',
    });
    await schedules(schedule({ event: { type: 'schedule:nightly' } }));
  });
});

test('the list says what comes next, what came last and what was let go', async () => {
  await setClock(db.sql, { at: '2026-03-02T09:30:00Z' });
  await schedules(schedule({ missed: 'skip' }));
  await beat();
  await advanceClock(db.sql, '3 hours');
  await beat();
  await advanceClock(db.sql, '30 minutes');
  await beat();
  expect(only(await engine.port.listSchedules())).toMatchObject({
    id: 'report',
    next_at: expect.stringContaining('14:00'),
    last_fired_at: expect.stringContaining('13:00'),
    missed_today: 3,
  });
});
