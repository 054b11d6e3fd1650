/** Schedules: one event per slot whoever beats first, by the clock of the named place. */
import { describe, expect, test } from 'vitest';
import { runBeat } from '../../supabase/client/beat.js';
import { nextSlots, planSchedules, slotsBetween } from '../../supabase/client/schedules.js';
import { Schedules } from '../../supabase/client/schemas/policies.js';
import { callCli } from '../support/cli.js';
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

  /** Time goes on from there: what is raised in several rounds has an order. */
  const awayUntil = async (more: Schedule, at: string) => {
    await setClock(db.sql, { at: '2026-03-02T09:30:00Z' });
    await schedules(schedule(more));
    await beat();
    await setClock(db.sql, { shift: `${Date.parse(at) - Date.now()} milliseconds` });
  };
  const fiveMinutes = { cron: '*/5 * * * *', look_back_minutes: 10_080 };
  test.each([
    ['daily', { cron: '0 9 * * *', look_back_minutes: 4_320 }, '2026-03-05T12:00Z', ['05 09:00']],
    ['hourly', {}, '2026-03-03T15:30Z', ['03 15:00']],
    ['hourly, and the last one is on time', {}, '2026-03-05T12:05Z', ['05 12:00']],
    ['each five minutes, the last two on time', fiveMinutes, '2026-03-06T09:31Z', ['06 09:25', '06 09:30']],
  ])(
    'for days raise the latest of one that comes %s, however many are planned and judged at once',
    async (_, more, at, slots) => {
      await awayUntil(more, at);
      await beat();
      expect(await raised()).toEqual(slots);
    },
  );

  test('for days raise none with skip, and each in its order with all, whoever beats at once', async () => {
    await awayUntil({ ...fiveMinutes, missed: 'skip' }, '2026-03-06T09:44Z');
    await beat();
    expect(await raised()).toEqual(['06 09:35', '06 09:40']);
    await engine.forget();
    await awayUntil({ ...fiveMinutes, missed: 'all' }, '2026-03-06T09:44Z');
    await race(3, () => beat());
    const all = await raised();
    expect(all).toHaveLength(4 * 288 + 2);
    expect(all).toEqual([...all].sort());
  });

  test('are raised by one at a time, so that a later one is never seen first', async () => {
    await setClock(db.sql, { at: '2026-03-02T09:30:00Z' });
    await schedules(schedule({ missed: 'all' }));
    await beat();
    await setClock(db.sql, { at: '2026-03-02T13:30:00Z' });
    const fire = "select (ops_fire_schedules(2) ->> 'fired')::int as fired";
    const other = await db.pool.connect();
    await other.query('begin');
    expect((await other.query(fire)).rows).toEqual([{ fired: 2 }]);
    expect(await db.one(fire)).toEqual({ fired: 0 });
    await other.query('commit');
    other.release();
    expect(await db.one(fire)).toEqual({ fired: 2 });
  });

  test('raise the latest only when what comes before now is planned, and one batch may hold one slot', async () => {
    await awayUntil({}, '2026-03-03T12:30Z');
    await db.sql("select ops_heartbeat(p_source => 'pg_cron')");
    expect(await raised()).toEqual([]);
    const { from_at, until_at, ...plan } = only(await engine.port.schedulesToPlan());
    const { slots } = slotsBetween({
      ...plan,
      timeZone: 'UTC',
      from: new Date(from_at),
      until: new Date(until_at),
    });
    const times = slots.map((slot) => slot.toISOString());
    await engine.port.planSlots({
      plans: [{ id: plan.id, revision: plan.revision, until: until_at, slots: times }],
    });
    for (let more = true; more; )
      ({ more } = await db.one<{ more: boolean }>(
        "select (ops_fire_schedules(1) ->> 'more')::boolean as more",
      ));
    expect(await raised()).toEqual(['03 12:00']);
  });

  test('are planned so many at a time, and the rest in the next round', async () => {
    await setClock(db.sql, { at: '2026-03-02T09:30:00Z' });
    const each = Array.from({ length: 11 }, (_, n) => schedule({ id: `s${n}`, cron: '* * * * *' }));
    await schedules(...each);
    expect(await planSchedules(engine.port)).toEqual({ planned: 2_000, left: 1 });
    expect(await planSchedules(engine.port)).toEqual({ planned: 200, left: 0 });
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
  const night = {
    spring: ['2026-03-28T20:30Z', '2026-03-29T03:30Z'],
    autumn: ['2026-10-24T21:45Z', '2026-10-25T03:00Z'],
  };
  const slotsOf = (cron: string, [from = '', until = '']: string[]) =>
    berlin(cron, from, until)
      .map((slot) => slot.slice(11, 16))
      .join(' ');
  // At 01:00 UTC two becomes three in spring, and three becomes two in autumn.
  test.each([
    ['30 2 * * *', '01:30', '00:30'],
    ['0,30 2 * * *', '01:00 01:30', '00:00 00:30'],
    ['*/30 2 * * *', '01:00 01:30', '00:00 00:30'],
    ['0 2,4 * * *', '01:00 02:00', '00:00 03:00'],
    ['0 1-3 * * *', '00:00 01:00', '23:00 00:00 02:00'],
    ['30 */2 * * *', '21:30 23:30 01:30 02:30', '22:30 00:30'],
    ['0 * * * *', '21:00 22:00 23:00 00:00 01:00 02:00 03:00', '22:00 23:00 00:00 01:00 02:00 03:00'],
  ])(
    'raises %s once for each time that does not exist, later by the jump, and once for each that comes twice',
    (cron, spring, autumn) => {
      expect({ spring: slotsOf(cron, night.spring), autumn: slotsOf(cron, night.autumn) }).toEqual({
        spring,
        autumn,
      });
    },
  );
  test('gives the same slots however they are cut', () => {
    const until = new Date('2026-03-29T03:30Z');
    const whole = {
      cron: '*/20 1-3 * * *',
      timeZone: 'Europe/Berlin',
      from: new Date('2026-03-28T20:00Z'),
      until,
    };
    const cut: Date[] = [];
    for (let from = whole.from; from < until; ) {
      const part = slotsBetween({ ...whole, from, most: 1 });
      cut.push(...part.slots);
      from = part.until;
    }
    expect(cut).toEqual(slotsBetween(whole).slots);
    expect(cut).toHaveLength(6);
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
  const zones = [
    'GMT+2',
    'CEST',
    'CET',
    '+02:00',
    'UTC+3',
    'Z',
    'Berlin2',
    'Europe/Berlin2',
    'Factory',
    'Mars/Base',
    'Etc/GMT+13',
  ];
  const crons = [
    ...[
      '61 * * * *',
      '* * * *',
      '* 24 * * *',
      '@daily',
      '* 17-9 * * *',
      '0 0 * * FRI-MON',
      '0 0 1 NOV-FEB *',
    ],
    ...[
      '5/15 * * * *',
      '59/1 * * * *',
      '*/90 * * * *',
      '*/61 * * * *',
      '0 */25 * * *',
      '0 0 30 2 *',
      '0 0 31 FEB,APR-6/2 *',
    ],
  ];
  test.each([
    ['zone', '$.schedules[0].time_zone', zones.map((time_zone) => ({ time_zone }))],
    ['cron', '$.schedules[0].cron', crons.map((cron) => ({ cron }))],
  ])('for its %s is refused at write, with the place and the remedy', async (_, place, wrong) => {
    for (const more of wrong) {
      const policy = { schedules: [schedule(more)] };
      const refusal = await engine.setPolicy('schedules', policy).then(
        () => ({}),
        ({ code, message, hint }) => ({ code, message, hint }),
      );
      expect({ more, ...refusal }).toMatchObject({
        code: 'OP008',
        message: expect.stringContaining(place),
        hint: expect.stringMatching(/^(Write|Correct) /),
      });
      expect({ more, taken: Schedules.safeParse(policy).success }).toEqual({ more, taken: false });
    }
  });
  test('is told from one that can by zod and the database alike', async () => {
    const days = ['*', '29', '30', '31', '29-31', '30,31', '*/31', '30-31/2', '31-30'];
    const months = [
      '*',
      '2',
      'FEB',
      '4',
      '2,4',
      '2-3',
      '2-3/2',
      'APR-JUN/2',
      '4-6',
      '*/12',
      'NOV-FEB',
      'SEP,NOV',
      '2-2',
    ];
    const weekdays = ['*', '*/7', 'SAT-SUN', 'FRI-MON', '7-0'];
    const crons = days.flatMap((d) => months.flatMap((m) => weekdays.map((w) => `0 9 ${d} ${m} ${w}`)));
    const found = await db.sql<{ message: string | null }>(
      'select p.message from unnest($1::text[]) with ordinality c(cron, n), ops_cron_problem(c.cron) p order by c.n',
      [crons],
    );
    const refused = crons.filter((_, n) => found[n]?.message !== null);
    expect(refused).toEqual(
      crons.filter((cron) => !Schedules.safeParse({ schedules: [schedule({ cron })] }).success),
    );
    expect(refused).toContain('0 9 30 2 *');
  });
  test('but stands in the policy, is told once, tried again, and keeps nothing from the others', async () => {
    await setClock(db.sql, { at: '2026-03-02T09:30:00Z' });
    await schedules(schedule({ id: 'gone', time_zone: 'Europe/Berlin' }), schedule());
    // As an update of the zone data, or a check that is younger than the policy, would leave it.
    await db.sql('alter table ops_policy disable trigger user');
    await db.sql(
      "update ops_policy set value = replace(value::text, 'Europe/Berlin', 'GMT+2')::jsonb where key = 'schedules'",
    );
    await db.sql('alter table ops_policy enable trigger user');
    expect(await beat()).toMatchObject({ ok: true, failures: [] });
    await setClock(db.sql, { at: '2026-03-02T10:01:00Z' });
    expect(await beat()).toMatchObject({ ok: true, failures: [], scheduleResult: { fired: 1 } });
    expect(await raised()).toEqual(['02 10:00']);
    const problem = 'the time zone "GMT+2" cannot be read here';
    expect(await db.sql("select data from ops_agent_events where type = 'schedule:unplannable'")).toEqual([
      { data: { schedule_id: 'gone', cron: '0 * * * *', time_zone: 'GMT+2', problem } },
    ]);
    expect(await engine.port.schedulesToPlan()).toEqual([]);
    await advanceClock(db.sql, '10 minutes');
    expect(await engine.port.schedulesToPlan()).toMatchObject([{ id: 'gone' }]);
    const cli = async (...args: string[]) =>
      JSON.parse((await callCli([...args, '--json'], { DATABASE_URL: db.url })).stdout);
    expect(await cli('schedules')).toMatchObject([
      { id: 'gone', problem, coming: [] },
      { id: 'report', problem: null, coming: [expect.any(String), expect.any(String), expect.any(String)] },
    ]);
    expect((await callCli(['schedules'], { DATABASE_URL: db.url })).stdout).toContain(problem);
    expect(await cli('policy', 'simulate', '{"patterns": []}')).toMatchObject({
      schedules: [
        { schedule_id: 'gone', problem, slots: [] },
        { schedule_id: 'report', problem: null, slots: { length: 3 } },
      ],
    });
    await schedules(schedule());
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
