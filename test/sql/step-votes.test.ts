/** Votes cast by steps: the voter is the role in the step's own row, and only while the step's lease is live. */
import { beforeEach, describe, expect, test } from 'vitest';
import { advanceClock } from '../support/clock.js';
import { type Json, type Lease, noop, only, ref, type StepTemplate, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const rules = { voting: { low: { enabled: true, min_votes: 3, approve_share: 0.6 } }, veto: ['sage'] };
const open = { enabled: true, allowed_step_kinds: ['vote', 'noop', 'radar'], max_risk_level: 'critical' };
const voteStep = (proposalId: string, role: Json, vote: Json = 'approve'): StepTemplate => ({
  kind: 'vote',
  params: { proposal_id: proposalId, vote, ...(role !== null && { role }) },
});

beforeEach(() => db.sql('delete from ops_proposal_votes'));

/** A proposal that waits, by default for votes. */
async function waiting(approvals: Json = rules, proposedBy?: string): Promise<string> {
  await engine.setPolicy('auto_approve', { enabled: false });
  await engine.setPolicy('approvals', approvals);
  const template = { title: 'work', steps: [noop('one')] };
  return (await engine.port.createProposal({ template, ...(proposedBy && { proposedBy }) })).id;
}

/** The steps of a mission that votes, as worker `w` runs them. */
async function voting(...steps: StepTemplate[]) {
  await engine.setPolicy('auto_approve', open);
  for (const step of steps) await engine.mission([step]);
  return engine.claim(100, ['vote', 'radar']);
}
const cast = ({ id, lease_epoch }: Lease, worker = 'w') =>
  engine.port.voteAsStep({ worker, stepId: id, leaseEpoch: lease_epoch });
const votes = () => db.sql('select voter, vote, person from ops_proposal_votes order by voter');

describe('a vote step', () => {
  test('votes as the role in its row, and the third yes makes one mission', async () => {
    const id = await waiting();
    const steps = await voting(...['scout', 'quill', 'xalt'].map((role) => voteStep(id, role)));
    const [first, second, third] = [...steps];
    if (!first || !second || !third) throw new Error('three steps were expected');
    expect(await cast(first)).toMatchObject({ id, status: 'voting', voter: 'scout', counted: true });
    expect(await cast(second)).toMatchObject({ status: 'voting', voter: 'quill' });
    expect(await cast(third)).toMatchObject({ status: 'approved', mission_id: expect.any(String) });
    expect(await votes()).toEqual(
      ['quill', 'scout', 'xalt'].map((voter) => ({ voter, vote: 'approve', person: false })),
    );
    // Tried again after a crash, it says what it said.
    expect(await cast(third)).toMatchObject({ status: 'approved', counted: true });
    await engine.complete(steps);
  });

  test('that comes after the decision is told so, and changes nothing', async () => {
    const id = await waiting();
    const [veto, late] = await voting(voteStep(id, 'sage', 'reject'), voteStep(id, 'scout'));
    if (!veto || !late) throw new Error('two steps were expected');
    expect(await cast(veto)).toMatchObject({ status: 'rejected' });
    expect(await cast(late)).toMatchObject({ status: 'rejected', counted: false, voter: 'scout' });
    expect(await votes()).toHaveLength(1);
    await engine.complete([veto, late]);
  });

  test('votes under its live lease only', async () => {
    const step = only(await voting(voteStep(await waiting(), 'scout')));
    const lost = { code: 'OPS_006' };
    await expect(cast(step, 'another')).rejects.toMatchObject(lost);
    await expect(cast({ ...step, lease_epoch: step.lease_epoch + 1 })).rejects.toMatchObject(lost);
    await advanceClock(db.sql, '2 minutes');
    await expect(cast(step)).rejects.toMatchObject(lost);
    expect(await votes()).toEqual([]);
  });

  test.each<[string, StepTemplate, string]>([
    ['nobody', voteStep('', null), 'OPS_003'],
    ['a role that is none', voteStep('', 'admin'), 'OPS_003'],
    ['another executor', { kind: 'radar', params: { action: 'list' } }, 'OPS_014'],
  ])('of %s casts nothing', async (_whose, { kind, params }, code) => {
    const id = await waiting();
    await db.sql("update ops_executors set params_schema = null where name = 'vote'");
    const more = kind === 'vote' ? { ...(params as Record<string, Json>), proposal_id: id } : params;
    const step = only(await voting({ kind: kind ?? '', params: more ?? {} }));
    await expect(cast(step)).rejects.toMatchObject({ code });
    expect(await votes()).toEqual([]);
    await engine.complete([step]);
  });

  test.each<[string, Json]>([
    ['voting is not enabled for the risk', {}],
    ['there are rules for another risk only', { voting: { high: { enabled: true } } }],
  ])('is refused where %s', async (_why, approvals) => {
    const step = only(await voting(voteStep(await waiting(approvals), 'scout')));
    await expect(cast(step)).rejects.toMatchObject({ code: 'OPS_003' });
    await engine.complete([step]);
  });

  test('waits while a cap holds the proposal', async () => {
    await engine.setPolicy('proposal_caps', { per_source: { manual: 0 } });
    await engine.setPolicy('approvals', rules);
    const { id } = await engine.port.createProposal({
      source: 'manual',
      template: { title: 'held', steps: [noop('one')] },
    });
    const step = only(await voting(voteStep(id, 'scout')));
    await expect(cast(step)).rejects.toMatchObject({ code: 'OPS_015' });
    await engine.complete([step]);
  });
});

describe('a role behind a proposal', () => {
  test('has no vote on what it proposed by name', async () => {
    const id = await waiting(rules, 'scout');
    const step = only(await voting(voteStep(id, 'scout')));
    await expect(cast(step)).rejects.toMatchObject({ code: 'OPS_003', hint: expect.any(String) });
    await engine.complete([step]);
  });

  test('has no vote on what an event of its step led to; others have', async () => {
    await engine.setPolicy('approvals', rules);
    await engine.patterns({
      id: 'idea',
      event_type: 'idea:new',
      template: { title: 'do it', risk_level: 'high', steps: [noop('one')] },
    });
    await engine.setPolicy('auto_approve', { ...open, max_risk_level: 'medium' });
    const of = (role: string) => noop(role, { params: { role }, depends_on: [] });
    await db.sql("update ops_executors set params_schema = null where name = 'noop'");
    await engine.mission([of('scout'), of('quill')]);
    for (const step of await engine.claim()) {
      const events = step.key === 'scout' ? [{ type: 'idea:new' }] : [];
      await engine.port.completeSteps({ worker: 'w', results: [{ ...ref(step), result: {}, events }] });
    }
    await engine.beat();
    await engine.setPolicy('approvals', { voting: { high: { enabled: true } } });
    const [idea] = await engine.port.listProposals({ status: 'pending' });
    if (idea === undefined) throw new Error('a proposal was expected');
    const [scout, quill] = await voting(voteStep(idea.id, 'scout'), voteStep(idea.id, 'quill'));
    if (!scout || !quill) throw new Error('two steps were expected');
    await expect(cast(scout)).rejects.toMatchObject({
      code: 'OPS_003',
      message: expect.stringContaining('scout is behind'),
    });
    expect(await cast(quill)).toMatchObject({ status: 'voting', voter: 'quill' });
    await engine.complete([scout, quill]);
  });
});

test('a direct worker may vote as a step, and in no other way', async () => {
  const step = only(await voting(voteStep(await waiting(), 'scout')));
  const client = await db.connect(db.adminUrl);
  await client.query('set role ops_worker');
  await client.query('select ops_vote_as_step($1, $2, $3)', ['w', step.id, step.lease_epoch]);
  await expect(
    client.query("select ops_cast_vote(gen_random_uuid(), 'sage', 'reject')"),
  ).rejects.toMatchObject({
    code: '42501',
  });
  await client.end();
  await engine.complete([step]);
});
