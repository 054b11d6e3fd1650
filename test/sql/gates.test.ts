/** Gates: caps that hold exactly, risk that adds up, and every condition of auto-approval by itself. */
import { describe, expect, test } from 'vitest';
import { advanceClock, setClock } from '../support/clock.js';
import { blocked, hold, type Json, noop, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const template = (more: { [key: string]: Json } = {}) => ({ title: 'work', steps: [noop('one')], ...more });
const propose = (more: { [key: string]: Json } = {}, source = 'api') =>
  engine.port.createProposal({ template: template(more), source });
const manual = () => engine.setPolicy('auto_approve', { enabled: false });
const row = (id: string) => db.one('select * from ops_mission_proposals where id = $1', [id]);
const race = (count: number, work: (n: number) => Promise<unknown>) =>
  Promise.all(Array.from({ length: count }, (_, n) => work(n)));
const passed = async (where = 'true') =>
  (await db.sql(`select from ops_mission_proposals where gated_at is not null and ${where}`)).length;

/** A proposal that a pattern made, of this pattern. */
const react = async (pattern: string) => {
  await engine.emit(`go:${pattern}`);
  await engine.beat();
};

describe('a cap', () => {
  test.each([
    ['daily_limit', { daily_limit: 7 }, 'daily cap of 7 proposals is used up'],
    ['hourly_limit', { hourly_limit: 7 }, 'hourly cap of 7 proposals is used up'],
    ['per_source', { per_source: { api: 7 } }, 'daily cap of 7 proposals from source api is used up'],
  ])('%s is exact under fifty at once, and the rest wait with the reason', async (_name, caps, reason) => {
    await engine.setPolicy('proposal_caps', caps);
    await race(50, () => propose());
    expect(await passed()).toBe(7);
    expect(await db.sql('select from ops_missions')).toHaveLength(7);
    expect(
      await db.sql('select distinct status, reason, risk from ops_mission_proposals where gated_at is null'),
    ).toEqual([{ status: 'pending', reason, risk: 'low' }]);
  });

  test('of what waits for approval is exact under fifty at once', async () => {
    await manual();
    await engine.setPolicy('proposal_caps', { max_pending: 4 });
    await race(50, () => propose());
    expect(await passed("status = 'pending'")).toBe(4);
    expect(
      await db.sql(
        "select from ops_mission_proposals where reason = '4 proposals wait for approval already'",
      ),
    ).toHaveLength(46);
  });

  test('per pattern counts each pattern by itself, also under beats at once', async () => {
    const pattern = (id: string) => ({ id, event_type: `go:${id}`, template: template() });
    await engine.patterns(pattern('a'), pattern('b'), pattern('c'));
    await engine.setPolicy('proposal_caps', { per_pattern: { a: 2, b: 5 } });
    for (const id of ['a', 'b', 'c']) await race(6, () => engine.emit(`go:${id}`));
    await race(8, () => engine.port.heartbeat({ source: 'reactive', reactionBatch: 3 }));
    await engine.beat();
    const counts = await db.sql(
      'select pattern_id, count(gated_at)::int as n from ops_mission_proposals group by 1 order by 1',
    );
    expect(counts).toEqual([
      { pattern_id: 'a', n: 2 },
      { pattern_id: 'b', n: 5 },
      { pattern_id: 'c', n: 6 },
    ]);
  });

  test('for all patterns at once is a number', async () => {
    await engine.patterns({ id: 'a', event_type: 'go:a', template: template() });
    await engine.setPolicy('proposal_caps', { per_pattern: 1 });
    await react('a');
    await react('a');
    await propose();
    expect(await db.sql('select status from ops_mission_proposals order by created_at')).toEqual([
      { status: 'auto_approved' },
      { status: 'pending' },
      { status: 'auto_approved' },
    ]);
  });

  test('does not count sources it does not name', async () => {
    await engine.setPolicy('proposal_caps', { per_source: { api: 1 } });
    await propose();
    expect(await propose({}, 'manual')).toMatchObject({ status: 'auto_approved' });
    expect(await propose()).toMatchObject({ status: 'pending' });
  });

  test('with on_exceed reject turns the rest down, with an event of the gate code', async () => {
    await engine.setPolicy('proposal_caps', { daily_limit: 2, on_exceed: 'reject' });
    await race(10, () => propose());
    expect(
      await db.sql('select status, count(*)::int as n from ops_mission_proposals group by 1 order by 1'),
    ).toEqual([
      { status: 'auto_approved', n: 2 },
      { status: 'rejected', n: 8 },
    ]);
    const events = await db.sql(
      "select data ->> 'code' as code from ops_agent_events where type = 'proposal:rejected'",
    );
    expect(events).toHaveLength(8);
    expect(events[0]).toEqual({ code: 'OPS_003' });
  });

  test('does not count rejected ones', async () => {
    await manual();
    await engine.setPolicy('proposal_caps', { daily_limit: 1 });
    const { id } = await propose();
    expect(await propose()).toMatchObject({ reason: 'daily cap of 1 proposals is used up' });
    await engine.port.rejectProposal({ id });
    expect(await propose()).toMatchObject({ reason: 'waits for approval: auto-approval is off' });
  });

  test.each([
    ['day', { daily_limit: 1 }, '2026-03-01T23:50:00Z', '2026-03-02T00:00:00Z'],
    ['hour', { hourly_limit: 1 }, '2026-03-01T10:50:00Z', '2026-03-01T11:00:00Z'],
    [
      'day of its time zone',
      { daily_limit: 1, time_zone: 'Asia/Kolkata' },
      '2026-03-01T18:20:00Z',
      '2026-03-01T18:30:00Z',
    ],
    // The clocks go forward that night, so this day has 23 hours.
    [
      'day with a change of clocks',
      { daily_limit: 1, time_zone: 'Europe/Berlin' },
      '2026-03-29T21:50:00Z',
      '2026-03-29T22:00:00Z',
    ],
  ])('is asked again when the %s turns, not before', async (_unit, caps, now, turn) => {
    await setClock(db.sql, { at: now });
    await engine.setPolicy('proposal_caps', caps);
    await propose();
    const { id } = await propose();
    expect(await row(id)).toMatchObject({ status: 'pending', next_gate_at: new Date(turn) });
    await advanceClock(db.sql, '9 minutes');
    await engine.beat();
    expect(await row(id)).toMatchObject({ status: 'pending' });
    await setClock(db.sql, { at: turn });
    const [round] = await engine.beat();
    expect(round?.gateResult).toMatchObject({ gated: 1, approved: 1 });
    expect(await row(id)).toMatchObject({ status: 'auto_approved', gated_at: new Date(turn) });
  });

  test('is asked again as soon as the policy changes', async () => {
    await engine.setPolicy('proposal_caps', { daily_limit: 1 });
    await propose();
    const { id } = await propose();
    await db.sql(
      `update ops_policy set value = jsonb_set(value, '{daily_limit}', '2') where key = 'proposal_caps'`,
    );
    await engine.beat();
    expect(await row(id)).toMatchObject({ status: 'auto_approved' });
  });

  test('stops an approval by a person too, by function and by UPDATE', async () => {
    await engine.setPolicy('proposal_caps', { daily_limit: 1 });
    await propose();
    const { id } = await propose();
    await expect(engine.port.approveProposal({ id })).rejects.toMatchObject({
      code: 'OPS_003',
      hint: expect.stringContaining('proposal_caps'),
    });
    await expect(
      db.sql("update ops_mission_proposals set status = 'approved' where id = $1", [id]),
    ).rejects.toMatchObject({ code: 'OP003' });
    expect(await passed()).toBe(1);
  });

  test('given as 5.0 is five', async () => {
    await db.sql(
      `update ops_policy set value = '{"daily_limit": 1.0, "max_pending": 5.0, "hourly_limit": 7.0}' where key = 'proposal_caps'`,
    );
    expect([await propose(), await propose()]).toMatchObject([
      { status: 'auto_approved' },
      { status: 'pending' },
    ]);
  });

  test('is read once per gating: one transaction at a time passes it', async () => {
    await engine.setPolicy('proposal_caps', { daily_limit: 1 });
    const letGo = await hold(db, 'select ops_create_proposal(\'{"title":"t","steps":[{"kind":"noop"}]}\')');
    const second = propose();
    await blocked(db, 1, 'the second proposal waits until the first is decided');
    await letGo();
    expect(await second).toMatchObject({ status: 'auto_approved' });
  });
});
