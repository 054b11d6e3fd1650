/** Approvals: a waiting proposal is decided once, by function or by hand, or by the clock. */
import { describe, expect, test } from 'vitest';
import { advanceClock } from '../support/clock.js';
import { inTransaction, noop, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const row = (id: string) => db.one('select * from ops_mission_proposals where id = $1', [id]);
const missions = () => db.sql('select * from ops_missions');
const manual = () => engine.setPolicy('auto_approve', { enabled: false });
const propose = (title = 'work') => engine.port.createProposal({ template: { title, steps: [noop('one')] } });

describe('deciding', () => {
  test('fifty approvals at once make one mission and fifty equal answers', async () => {
    await manual();
    const { id } = await propose();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) => engine.port.approveProposal({ id, actor: `p${n}` })),
    );
    expect(new Set(answers.map(({ mission_id }) => mission_id)).size).toBe(1);
    expect(await missions()).toHaveLength(1);
    expect(await db.sql("select from ops_agent_events where type = 'proposal:approved'")).toHaveLength(1);
  });

  test('approvals against rejections: exactly one side wins, and the other is told so', async () => {
    await manual();
    for (let round = 0; round < 15; round++) {
      const { id } = await propose(`round ${round}`);
      const answers = await Promise.allSettled(
        Array.from({ length: 6 }, (_, n) =>
          n % 2 ? engine.port.approveProposal({ id }) : engine.port.rejectProposal({ id }),
        ),
      );
      const { status } = await row(id);
      const sides = answers.map((answer, n) => ({ side: n % 2 ? 'approved' : 'rejected', answer }));
      for (const { side, answer } of sides)
        if (side === status) expect(answer).toMatchObject({ status: 'fulfilled', value: { status } });
        else expect(answer).toMatchObject({ status: 'rejected', reason: { code: 'OPS_015' } });
      expect(await db.sql('select from ops_missions where proposal_id = $1', [id])).toHaveLength(
        status === 'approved' ? 1 : 0,
      );
    }
  });

  test('by UPDATE does what ops_approve_proposal does, also against it at the same moment', async () => {
    await manual();
    const { id } = await propose();
    const byHand = () =>
      db.sql("update ops_mission_proposals set status = 'approved' where id = $1 and status = 'pending'", [
        id,
      ]);
    await Promise.all([
      byHand(),
      engine.port.approveProposal({ id }),
      byHand(),
      engine.port.approveProposal({ id }),
    ]);
    expect(await row(id)).toMatchObject({
      status: 'approved',
      approved_at: expect.any(Date),
      decided_by: 'postgres',
      risk: 'low',
    });
    expect(await missions()).toHaveLength(1);
    expect(await db.sql("select from ops_agent_events where type = 'proposal:approved'")).toHaveLength(1);
  });

  test("makes a mission also where the engine's own mark is set", async () => {
    await manual();
    const { id } = await propose();
    const client = await inTransaction(db, "select set_config('ops.engine', 'on', true)");
    await client.query('select ops_approve_proposal($1)', [id]);
    await client.query('commit');
    await client.end();
    expect(await missions()).toHaveLength(1);
  });

  test('by UPDATE rejects, keeps the reason given, and refuses every other move', async () => {
    await manual();
    const { id } = await propose();
    for (const status of ['auto_approved', 'expired', 'voting'])
      await expect(db.sql('update ops_mission_proposals set status = $1', [status])).rejects.toMatchObject({
        code: 'OP015',
      });
    await db.sql("update ops_mission_proposals set status = 'rejected', reason = 'not now' where id = $1", [
      id,
    ]);
    expect(await row(id)).toMatchObject({ status: 'rejected', reason: 'not now' });
    await expect(db.sql("update ops_mission_proposals set status = 'approved'")).rejects.toMatchObject({
      code: 'OP015',
      message: `proposal ${id} is rejected and cannot become approved`,
      hint: expect.stringContaining('Propose it again'),
    });
    expect(await missions()).toEqual([]);
  });

  test('of what is not there is refused with a code', async () => {
    const id = '00000000-0000-4000-8000-000000000000';
    await expect(engine.port.approveProposal({ id })).rejects.toMatchObject({
      code: 'OPS_012',
      hint: expect.stringMatching(/\S/),
    });
  });
});

describe('expiry', () => {
  test.each([
    ['expired', {}],
    ['rejected', { default_action: 'reject' }],
  ])('makes a proposal nobody decided %s, as the policy says, once', async (status, more) => {
    await manual();
    await engine.setPolicy('approvals', { expires_minutes: 30, ...more });
    const { id } = await propose();
    await engine.beat();
    expect(await row(id)).toMatchObject({ status: 'pending' });
    await advanceClock(db.sql, '31 minutes');
    const [round] = await engine.beat();
    expect(round?.gateResult).toMatchObject({ expired: 1 });
    expect(await row(id)).toMatchObject({ status, decided_by: 'ops-loop', reason: 'nobody decided in time' });
    await expect(engine.port.approveProposal({ id })).rejects.toMatchObject({ code: 'OPS_015' });
    await engine.beat();
    expect(await db.sql('select from ops_agent_events where type = $1', [`proposal:${status}`])).toHaveLength(
      1,
    );
  });
});
