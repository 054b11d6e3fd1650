/** Auto-approval: every condition by itself, a limit that holds exactly, and risk that adds up. */
import { describe, expect, test } from 'vitest';
import { type Json, noop, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const template = (more: { [key: string]: Json } = {}) => ({ title: 'work', steps: [noop('one')], ...more });
const propose = (more: { [key: string]: Json } = {}, source = 'api') =>
  engine.port.createProposal({ template: template(more), source });
const row = (id: string) => db.one('select * from ops_mission_proposals where id = $1', [id]);
const race = (count: number, work: (n: number) => Promise<unknown>) =>
  Promise.all(Array.from({ length: count }, (_, n) => work(n)));
const passed = async (where: string) =>
  (await db.sql(`select from ops_mission_proposals where gated_at is not null and ${where}`)).length;

/** Parameters that openclaw takes. */
const run = { mode: 'exec', message: 'x' };

describe('auto-approval', () => {
  const all = {
    enabled: true,
    allowed_step_kinds: ['noop', 'radar'],
    max_risk_level: 'high',
    allowed_sources: ['api'],
  };
  const two = { steps: [noop('one'), { key: 'two', kind: 'radar', params: { action: 'list' } }] };

  test('lets through what meets every condition', async () => {
    await engine.setPolicy('auto_approve', all);
    expect(await propose(two)).toMatchObject({ status: 'auto_approved' });
  });

  test.each<[string, { [key: string]: Json }, { [key: string]: Json }, string, string]>([
    ['it is off', { enabled: false }, {}, 'api', 'auto-approval is off'],
    [
      'a kind is not named',
      { allowed_step_kinds: ['noop'] },
      {},
      'api',
      'radar is not in auto_approve.allowed_step_kinds',
    ],
    [
      'no kind is named',
      { allowed_step_kinds: [] },
      {},
      'api',
      'noop is not in auto_approve.allowed_step_kinds',
    ],
    [
      'the executor is not named, though the kind is',
      {},
      { steps: [{ kind: 'noop', executor: 'openclaw', params: run }] },
      'api',
      'openclaw is not in auto_approve.allowed_step_kinds',
    ],
    [
      'the risk is too high',
      { max_risk_level: 'medium' },
      { ...two, risk_level: 'high' },
      'api',
      'risk high is above medium',
    ],
    ['the source is not named', {}, {}, 'manual', 'source manual is not in auto_approve.allowed_sources'],
    [
      'no source is named',
      { allowed_sources: [] },
      {},
      'api',
      'source api is not in auto_approve.allowed_sources',
    ],
    [
      'its daily limit is used up',
      { daily_limit: 0 },
      {},
      'api',
      'daily limit of 0 auto-approvals is used up',
    ],
  ])('leaves it to a person when %s', async (_what, policy, more, source, reason) => {
    await engine.setPolicy('auto_approve', { ...all, ...policy });
    const { id, status } = await propose({ ...two, ...more }, source);
    expect(status).toBe('pending');
    expect(await row(id)).toMatchObject({
      reason: `waits for approval: ${reason}`,
      gated_at: expect.any(Date),
    });
    const { code } = await db.one(
      "select data ->> 'code' as code from ops_agent_events where type = 'proposal:waiting'",
    );
    expect(code).toBe('OPS_009');
  });

  test('says in words whether it is on', async () => {
    await engine.setPolicy('auto_approve', { ...all, enabled: false });
    const { id } = await propose();
    const { answer } = await db.one<{ answer: { approval: { condition: string; sentence: string }[] } }>(
      'select ops_explain_proposal($1) as answer',
      [id],
    );
    const on = answer.approval.find(({ condition }) => condition === 'auto_approve.enabled');
    expect(on?.sentence).toBe('auto_approve.enabled is false.');
  });

  test('without a list of kinds allows none, without a risk level only low', async () => {
    await engine.setPolicy('auto_approve', { enabled: true });
    expect(await propose()).toMatchObject({ status: 'pending' });
    await engine.setPolicy('auto_approve', { enabled: true, allowed_step_kinds: ['noop'] });
    expect(await propose({ risk_level: 'medium' })).toMatchObject({ status: 'pending' });
    expect(await propose({ risk_level: 'low' })).toMatchObject({ status: 'auto_approved' });
  });

  test('is exact in its daily limit under fifty at once; what people approve does not count', async () => {
    await engine.setPolicy('auto_approve', { ...all, daily_limit: 3 });
    await race(50, () => propose());
    expect(await passed("status = 'auto_approved'")).toBe(3);
  });

  test('that is paused leaves everything to people', async () => {
    await engine.port.pause({ scope: 'auto_approve' });
    expect(await propose()).toMatchObject({
      status: 'pending',
      reason: 'waits for approval: auto-approval is paused',
    });
    await engine.port.resume({ scope: 'auto_approve' });
    expect(await propose()).toMatchObject({ status: 'auto_approved' });
  });
});

describe('risk', () => {
  test.each<[string, { [key: string]: Json }, { [key: string]: Json }, string]>([
    ['the trait of the executor', {}, { steps: [{ kind: 'openclaw', params: run }] }, 'high'],
    [
      'the highest of several traits',
      {},
      { steps: [noop('a'), { kind: 'agent', params: { role: 'sage', prompt: 'x' } }] },
      'medium',
    ],
    ['kind_risk', { kind_risk: { noop: 'critical' } }, {}, 'critical'],
    ['the template itself', {}, { risk_level: 'high' }, 'high'],
    [
      'never what is lower',
      { kind_risk: { openclaw: 'low' } },
      { steps: [{ kind: 'openclaw', params: run }], risk_level: 'low' },
      'high',
    ],
    [
      'the executor, whatever the kind is called',
      {},
      { steps: [{ kind: 'harmless', executor: 'openclaw', params: run }] },
      'high',
    ],
  ])('is %s', async (_what, policy, more, risk) => {
    await engine.setPolicy('auto_approve', { enabled: false, ...policy });
    const { id } = await propose(more);
    expect(await row(id)).toMatchObject({ risk });
  });
});
