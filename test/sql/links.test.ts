/** Links that approve or reject: bound to what was shown, used once, ended in time, made only by whoever may. */
import { beforeEach, describe, expect, test } from 'vitest';
import { advanceClock } from '../support/clock.js';
import { type Json, noop, only, ref, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const proposal = (id: string) => db.one('select * from ops_mission_proposals where id = $1', [id]);
const missions = () => db.sql('select id from ops_missions');
const stored = () => db.sql('select * from ops_approval_links');
const use = (token: string, reason?: string) => engine.port.useLink({ token, ...(reason && { reason }) });
const look = (token: string) => engine.port.lookAtLink({ token });
const make = (proposalId: string, actor = 'link:ops', ttlSeconds?: number) =>
  engine.port.makeApprovalLinks({ proposalId, actor, ...(ttlSeconds && { ttlSeconds }) });

beforeEach(() => db.sql('delete from ops_approval_links'));

/** A proposal that waits for a person. */
async function waiting(approvals: Json = {}): Promise<string> {
  await engine.setPolicy('auto_approve', { enabled: false });
  await engine.setPolicy('approvals', approvals);
  const template = { title: 'work', steps: [noop('one')] };
  return (await engine.port.createProposal({ template })).id;
}

describe('the links of a proposal', () => {
  test('are two tokens of which only hashes are kept', async () => {
    const id = await waiting();
    const links = await make(id);
    expect(links).toMatchObject({ proposal_id: id, title: 'work', risk: 'low' });
    for (const token of [links.approve, links.reject]) expect(token).toMatch(/^[0-9a-f]{64}$/);
    expect(links.approve).not.toBe(links.reject);
    const rows = JSON.stringify(await stored());
    expect(rows).not.toContain(links.approve);
    expect(rows).not.toContain(links.reject);
    expect((await make(id)).approve).not.toBe(links.approve);
  });

  test('say what they would do, and looking a hundred times does nothing', async () => {
    const id = await waiting();
    const { approve, reject } = await make(id);
    const looks = await Promise.all(Array.from({ length: 100 }, (_, n) => look(n % 2 ? approve : reject)));
    expect(looks[1]).toMatchObject({
      verdict: 'approve',
      actor: 'link:ops',
      state: 'open',
      why_not: null,
      proposal_id: id,
      template: { title: 'work' },
    });
    expect(looks[0]).toMatchObject({ verdict: 'reject', state: 'open' });
    expect(await proposal(id)).toMatchObject({ status: 'pending' });
  });

  test.each(['approve', 'reject'] as const)(
    'decide once, in the name of their label: %s',
    async (verdict) => {
      const id = await waiting();
      const links = await make(id);
      const status = verdict === 'approve' ? 'approved' : 'rejected';
      expect(await use(links[verdict], 'seen')).toMatchObject({ verdict, id, status });
      expect(await proposal(id)).toMatchObject({ status, decided_by: 'link:ops', reason: 'seen' });
      const other = verdict === 'approve' ? links.reject : links.approve;
      for (const [token, state] of [
        [links[verdict], 'used'],
        [other, 'ended'],
      ] as const) {
        expect(await look(token)).toMatchObject({ state, why_not: expect.any(String), template: null });
        await expect(use(token)).rejects.toMatchObject({
          code: 'OPS_015',
          detail: { state, proposal_id: id },
        });
      }
    },
  );

  test('used by forty at once, both kinds, decide exactly once', async () => {
    for (const round of [1, 2, 3]) {
      const id = await waiting();
      const { approve, reject } = await make(id, `link:${round}`);
      const before = (await missions()).length;
      const answers = await Promise.allSettled(
        Array.from({ length: 40 }, (_, n) => use(n % 2 ? approve : reject)),
      );
      const won = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
      expect(won).toHaveLength(1);
      expect(await proposal(id)).toMatchObject({ status: won[0]?.status });
      expect((await missions()).length - before).toBe(won[0]?.verdict === 'approve' ? 1 : 0);
      for (const answer of answers)
        if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'OPS_015' });
    }
  });

  test('run out, and not after their proposal', async () => {
    const id = await waiting({ expires_minutes: 10 });
    const { approve, expires_at } = await make(id, 'link:ops', 86_400);
    const { expires_at: proposalEnds } = await proposal(id);
    expect(new Date(expires_at)).toEqual(proposalEnds);
    const short = await make(id, 'link:other', 60);
    await advanceClock(db.sql, '61 seconds');
    expect(await look(short.approve)).toMatchObject({ state: 'expired', why_not: 'this link has run out' });
    await expect(use(short.approve)).rejects.toMatchObject({ code: 'OPS_015', detail: { state: 'expired' } });
    expect(await use(approve)).toMatchObject({ status: 'approved' });
  });

  test('do not hold for other content, however it came about', async () => {
    const id = await waiting();
    const { approve } = await make(id);
    await db.sql(
      `alter table ops_mission_proposals disable trigger user;
       update ops_mission_proposals set template = template || '{"title": "other work"}';
       alter table ops_mission_proposals enable trigger user`,
    );
    expect(await look(approve)).toMatchObject({ state: 'changed', template: null });
    await expect(use(approve)).rejects.toMatchObject({ code: 'OPS_003', detail: { state: 'changed' } });
    expect(await missions()).toEqual([]);
    await db.sql(`update ops_mission_proposals set status = 'rejected' where id = '${id}'`);
  });

  test('do not decide what is decided, nor what is gone', async () => {
    const id = await waiting();
    const { approve } = await make(id);
    await engine.port.rejectProposal({ id, actor: 'anna' });
    await expect(use(approve)).rejects.toMatchObject({
      code: 'OPS_015',
      message: 'the proposal is already rejected',
    });
    await expect(make(id)).rejects.toMatchObject({ code: 'OPS_015' });
    await db.sql(`select set_config('ops.engine', 'on', true); delete from ops_mission_proposals`);
    expect(await look(approve)).toMatchObject({ state: 'gone' });
    await expect(use(approve)).rejects.toMatchObject({ code: 'OPS_015' });
  });

  test('stay as they were when the decision is refused', async () => {
    const id = await waiting({ approvers: ['anna'] });
    const { approve } = await make(id);
    await expect(use(approve)).rejects.toMatchObject({
      code: 'OPS_003',
      message: expect.stringContaining('link:ops'),
    });
    await engine.setPolicy('approvals', { approvers: ['link:ops'] });
    expect(await use(approve)).toMatchObject({ status: 'approved' });
  });

  test('of one label count as one person of a quorum, those of another still work', async () => {
    const id = await waiting({ quorum: 2 });
    const [here, again, there] = [
      await make(id, 'link:here'),
      await make(id, 'link:here'),
      await make(id, 'link:there'),
    ];
    expect(await use(here.approve)).toMatchObject({ status: 'voting', reason: '1 of 2 approvals' });
    await expect(use(again.approve)).rejects.toMatchObject({ code: 'OPS_015', detail: { state: 'ended' } });
    expect(await use(there.approve)).toMatchObject({ status: 'approved' });
    expect(await missions()).toHaveLength(1);
  });

  test.each([
    ['an unknown token', () => look('f'.repeat(64)), 'OPS_012'],
    ['the use of one', () => use('f'.repeat(64)), 'OPS_012'],
    ['an unknown proposal', () => make('00000000-0000-4000-8000-000000000000'), 'OPS_012'],
    ['no label', async () => make(await waiting(), '  '), 'OPS_011'],
    ["the loop's own name", async () => make(await waiting(), 'votes'), 'OPS_011'],
    ['a second', async () => make(await waiting(), 'link:a', 1), 'OPS_011'],
    ['a month', async () => make(await waiting(), 'link:a', 2_592_000), 'OPS_011'],
  ])('are refused for %s', async (_what, call, code) => {
    await expect(call()).rejects.toMatchObject({ code });
    expect(await stored()).toEqual([]);
  });

  test('are swept a week after they ran out', async () => {
    const old = await make(await waiting(), 'link:old', 60);
    await advanceClock(db.sql, '6 days');
    const id = await waiting();
    await make(id);
    expect(await look(old.approve)).toMatchObject({ state: 'expired' });
    await advanceClock(db.sql, '2 days');
    await make(id);
    await expect(look(old.approve)).rejects.toMatchObject({ code: 'OPS_012' });
  });
});

describe('a notify step', () => {
  const params = (id: string) => ({ channel: 'ops-room', text: 'look', approve: { proposal_id: id } });
  /** A step of these params that worker `w` runs. */
  async function running(kind: string, stepParams: { [name: string]: Json }) {
    await engine.setPolicy('auto_approve', {
      enabled: true,
      allowed_step_kinds: [kind],
      max_risk_level: 'critical',
    });
    await engine.mission([{ kind, params: stepParams }]);
    return only(await engine.claim(1, [kind]));
  }
  const ask = (step: { id: string; lease_epoch: number }, worker = 'w') =>
    engine.port.makeLinksAsStep({ worker, stepId: step.id, leaseEpoch: step.lease_epoch });

  test('makes links for the proposal that its approved params name, labelled by its channel', async () => {
    const id = await waiting();
    const step = await running('notify', params(id));
    const links = await ask(step);
    expect(await look(links.approve)).toMatchObject({ proposal_id: id, actor: 'link:ops-room' });
    expect(only(await db.sql(`select distinct step_id from ops_approval_links`))).toEqual({
      step_id: step.id,
    });
    await engine.complete([step]);
  });

  test('makes none without its lease, under another name, with an old epoch, or once it has ended', async () => {
    const step = await running('notify', params(await waiting()));
    const refused = { code: 'OPS_006' };
    await expect(ask(step, 'somebody')).rejects.toMatchObject(refused);
    await expect(ask({ ...step, lease_epoch: step.lease_epoch - 1 })).rejects.toMatchObject(refused);
    await advanceClock(db.sql, '2 minutes');
    await expect(ask(step)).rejects.toMatchObject(refused);
    await engine.port.recoverExpiredLeases();
    await expect(ask(step)).rejects.toMatchObject(refused);
    expect(await stored()).toEqual([]);
  });

  test('alone may do so: another executor is refused', async () => {
    await waiting();
    const step = await running('noop', {});
    await expect(ask(step)).rejects.toMatchObject({ code: 'OPS_014' });
    await engine.complete([step]);
  });

  test('is as much as a direct worker may do with links', async () => {
    const step = await running('notify', params(await waiting()));
    const client = await db.connect(db.adminUrl);
    await client.query('set role ops_worker');
    const { step_id, lease_epoch } = ref(step);
    await client.query('select ops_make_links_as_step($1, $2, $3)', ['w', step_id, lease_epoch]);
    for (const call of [
      `ops_make_approval_links('${step_id}', 'me')`,
      "ops_look_at_link('x')",
      "ops_use_link('x')",
      "ops_store_links(null, 'x', 1, null)",
    ])
      await expect(client.query(`select ${call}`), call).rejects.toMatchObject({ code: '42501' });
    await expect(client.query('select from ops_approval_links')).rejects.toMatchObject({ code: '42501' });
    await client.end();
    await engine.complete([step]);
  });
});
