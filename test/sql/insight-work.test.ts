/** Why, trace, status and health: what they say is what the engine did or will do, and they never write. */
import { describe, expect, it } from 'vitest';
import { advanceClock } from '../support/clock.js';
import {
  beat,
  claim,
  complete,
  database,
  emit,
  fail,
  pattern,
  port,
  propose,
  sayings,
  setMatrix,
  startWorker,
} from './insight-kit.js';

describe('a proposal', () => {
  it('that waits for a cap says which, with its numbers and when it turns', async () => {
    await port.setPolicy({ key: 'proposal_caps', value: { daily_limit: 2, max_pending: 5 } });
    for (const _ of [1, 2]) await propose([{ kind: 'noop' }]);
    const { id } = await propose([{ kind: 'noop' }], 'one too many');
    const explained = await port.explainProposal({ id });
    expect(explained.sentences.slice(0, 4)).toEqual([
      'Proposal "one too many" has not passed its gates: daily cap of 2 proposals is used up.',
      'It is gated again at 2026-03-05 00:00 UTC (12 hours left), or at the next heartbeat after proposal_caps or auto_approve change.',
      'proposal_caps.daily_limit: 2 of 2 proposals of today; the window turns at 2026-03-05 00:00 UTC (12 hours left).',
      "`update ops_policy set value = jsonb_set(value, '{daily_limit}', '3') where key = 'proposal_caps'` lets one more through.",
    ]);
    expect(explained.gates).toMatchObject([
      { gate: 'proposal_caps.daily_limit', used: 2, limit: 2, ok: false },
      { gate: 'proposal_caps.max_pending', used: 0, limit: 5, ok: true },
    ]);
    await database.sql(
      `update public.ops_policy set value = jsonb_set(value, '{daily_limit}', '3') where key = 'proposal_caps'`,
    );
    expect(await sayings(id)).toContain('It is gated at the next heartbeat');
    await beat();
    expect(await sayings(id)).toContain('was approved automatically at 12:00:00 UTC');
  });

  it('that waits for a person says which conditions failed, and the commands', async () => {
    await port.setPolicy({ key: 'approvals', value: { expires_minutes: 60 } });
    await port.setPolicy({
      key: 'auto_approve',
      value: { enabled: true, allowed_step_kinds: [], daily_limit: 3 },
    });
    const { id } = await propose([{ kind: 'noop' }], 'ask me');
    const explained = await port.explainProposal({ id });
    const said = explained.sentences.join('\n');
    expect(said).toContain('Proposal "ask me" (risk low) waits for a person since 12:00:00 UTC');
    expect(said).toContain('Not in auto_approve.allowed_step_kinds: noop.');
    expect(said).toContain('At 13:00 UTC (60 minutes left) it is expired unless somebody decides.');
    expect(said).toContain(
      `\`ops-loop approve ${id}\` or \`select ops_approve_proposal('${id}')\` starts it`,
    );
    const conditions = explained.approval as { condition: string; ok: boolean }[];
    expect(conditions.filter(({ ok }) => !ok).map(({ condition }) => condition)).toEqual([
      'auto_approve.allowed_step_kinds',
    ]);
    expect(conditions).toHaveLength(8);
    await port.approveProposal({ id, actor: 'ada', reason: 'looks right' });
    expect(await sayings(id)).toMatch(
      /was approved by ada at 12:00:00 UTC \(.*\): looks right\.\nIts mission [0-9a-f-]{36} is approved;/,
    );
  });
});

describe('a step', () => {
  it('that is blocked names the steps it waits for', async () => {
    const { steps } = await propose([
      { key: 'build', kind: 'noop' },
      { key: 'test', kind: 'noop', depends_on: [] },
      {
        key: 'ship',
        kind: 'noop',
        depends_on: ['build', 'test'],
        when: '$.steps.build.result.done == "build"',
      },
    ]);
    const said = await sayings(steps[2] ?? '');
    expect(said).toContain('Step ship is blocked: it waits for build (queued), test (queued).');
    expect(said).toContain('decides whether it runs or is skipped.');
  });

  it('that is queued says who could claim it and what is ahead', async () => {
    const { steps } = await propose([
      { key: 'one', kind: 'noop' },
      { key: 'two', kind: 'noop', depends_on: [], priority: 1 },
    ]);
    await advanceClock(database.sql, '5 minutes');
    expect(await sayings(steps[1] ?? '')).toContain(
      'Step two is queued since 12:00 UTC (5 minutes ago) for executor noop, attempt 1 of 3.\nNo worker is alive; `ops-loop worker` starts one.\nAhead of it in the queue of its executor: 1.',
    );
    await startWorker('worker-b', ['http']);
    expect(await sayings(steps[0] ?? '')).toContain('No living worker serves executor noop;');
    await startWorker();
    expect(await sayings(steps[0] ?? '')).toContain(
      'Executor noop is served by worker-a.\nIt is the next of its executor.',
    );
    await port.pause({ scope: 'dispatch', mode: 'halt' });
    expect(await sayings(steps[0] ?? '')).toContain(
      'The next claim sets it aside for the switch dispatch (halt',
    );
  });

  it('that is held names switch, list or bound, and what lifts it', async () => {
    const { steps, mission } = await propose([{ key: 'one', kind: 'noop' }]);
    const id = steps[0] ?? '';
    await port.pause({ scope: `mission:${mission}`, reason: 'wait for ada' });
    await claim();
    expect(await sayings(id)).toContain(
      `Step one is held by the switch mission:${mission} (drain: wait for ada, since 12:00:00 UTC); \`ops-loop resume mission:${mission}\` lifts it.`,
    );
    await port.resume({ scope: `mission:${mission}` });
    await port.setPolicy({ key: 'worker_policy', value: { blocked_executors: ['noop'] } });
    await claim();
    expect(await sayings(id)).toContain(
      'Step one is held by worker_policy.blocked_executors, which names noop; take it out there.',
    );
    await port.setPolicy({ key: 'worker_policy', value: { executors: { noop: { max_running: 0 } } } });
    await claim();
    expect(await sayings(id)).toContain(
      'Step one is held by worker_policy.executors.noop.max_running: 0 of 0 run; it starts when one of them ends.',
    );
  });

  it('that is held by a rate says when its window turns', async () => {
    await port.setPolicy({
      key: 'worker_policy',
      value: { executors: { noop: { rate: { count: 1, per_minutes: 10 } } } },
    });
    const { steps } = await propose([
      { key: 'one', kind: 'noop' },
      { key: 'two', kind: 'noop', depends_on: [], priority: 1 },
    ]);
    await complete();
    await claim();
    expect(await sayings(steps[1] ?? '')).toContain(
      'Step two is held by worker_policy.executors.noop.rate: 1 of 1 per 10 minutes used; the window turns at 12:10 UTC (10 minutes left).',
    );
  });

  it('that runs says where, until when and at which attempt', async () => {
    const { steps } = await propose([{ key: 'one', kind: 'noop' }]);
    await claim();
    const id = steps[0] ?? '';
    expect(await sayings(id)).toContain(
      'Step one runs on worker worker-a since 12:00:00 UTC (just now), attempt 1 of 3.\nIts lease lasts until 12:01:00 UTC (60 seconds left)',
    );
    await advanceClock(database.sql, '5 minutes');
    expect(await sayings(id)).toContain('Its lease ended at 12:01 UTC (4 minutes ago): the next recovery');
  });

  it('that failed once says when it is tried again, then why it is out of attempts', async () => {
    const { steps, mission } = await propose([
      { key: 'one', kind: 'noop', max_retries: 2 },
      { key: 'two', kind: 'noop' },
    ]);
    const id = steps[0] ?? '';
    await fail('retryable');
    const waits = await sayings(id);
    expect(waits).toMatch(
      /^Step one is scheduled for 12:00:0\d UTC \((1 second|2 seconds|less than a second) left\)\.$/m,
    );
    expect(waits).toContain('Then comes attempt 2 of 2. The last one ended with: it broke.');
    await advanceClock(database.sql, '1 minute');
    await fail('retryable', 'it broke\nagain.');
    const { id: letter } = await database.one<{ id: string }>('select id from public.ops_step_dead_letters');
    const failed = await sayings(id);
    expect(failed).toContain(
      'Step one failed at 12:01:00 UTC (just now): it broke again.\nAll 2 attempts are used up.\nIt stopped its mission.',
    );
    expect(failed).toContain(
      `\`ops-loop retry ${id}\` or \`ops-loop dlq requeue ${letter}\` runs it again in a new series.`,
    );
    expect(await sayings(steps[1] ?? '')).toContain(
      'Step two was skipped at 12:01:00 UTC (just now), because step one failed.',
    );
    expect(await sayings(mission)).toContain(
      `\`ops-loop retry ${mission}\` runs it on from its last good step.`,
    );
    const { attempts } = await port.explainStep({ id });
    expect(attempts).toMatchObject([
      { status: 'failed', lease_epoch: 1 },
      { status: 'failed', lease_epoch: 2 },
    ]);
    await port.retryStep({ id });
    expect(await sayings(id)).toContain('This is its series 2');
  });

  it.each([
    ['permanent', 'Its error is permanent (Broken)'],
    ['unknown', 'Nobody knows whether it took effect'],
  ] as const)('that ended as %s says what that means', async (outcome, meaning) => {
    await database.sql(`update public.ops_executors set idempotent = false where name = 'noop'`);
    const { steps } = await propose([{ key: 'one', kind: 'noop' }]);
    await fail(outcome);
    expect(await sayings(steps[0] ?? '')).toContain(meaning);
    await database.sql(`update public.ops_executors set idempotent = true where name = 'noop'`);
  });

  it('that was skipped or cancelled or succeeded says so', async () => {
    const { steps, mission } = await propose([
      { key: 'one', kind: 'noop' },
      { key: 'two', kind: 'noop', when: '$.steps.one.result.done == "never"' },
      { key: 'three', kind: 'noop' },
    ]);
    await complete();
    await port.cancelMission({ id: mission, reason: 'no longer wanted' });
    expect(await sayings(steps[0] ?? '')).toContain(
      'Step one succeeded at 12:00:00 UTC (just now) on worker worker-a, attempt 1 of 3.',
    );
    expect(await sayings(steps[1] ?? '')).toMatch(
      /^Step two was skipped at .*: its condition `.*` was false\.$/m,
    );
    expect(await sayings(steps[2] ?? '')).toMatch(
      /^Step three was cancelled at .*: no longer wanted\.\n`ops-loop retry/m,
    );
  });
});

describe('any id', () => {
  it('is explained by what it stands for', async () => {
    await setMatrix(pattern('any', { event_type: 'a:b' }));
    const event = await emit('a:b');
    await beat();
    await fail('permanent');
    const ids = await database.one<Record<string, string>>(
      `select r.id as reaction, p.id as proposal, m.id as mission, s.id as step, a.id as attempt, d.id as letter
       from public.ops_agent_reactions r, public.ops_mission_proposals p, public.ops_missions m, public.ops_mission_steps s,
         public.ops_action_runs a, public.ops_step_dead_letters d`,
    );
    const found = async (id: string | undefined) => {
      const { kind, id: leadsTo } = await port.why({ id: id ?? '' });
      return [kind, leadsTo];
    };
    expect(await found(ids.reaction)).toEqual(['event', event]);
    for (const kind of ['proposal', 'mission', 'step'])
      expect(await found(ids[kind])).toEqual([kind, ids[kind]]);
    for (const id of [ids.attempt, ids.letter]) expect(await found(id)).toEqual(['step', ids.step]);
  });

  it('that nothing has is refused with a hint', async () => {
    const id = '00000000-0000-4000-8000-000000000000';
    for (const ask of [port.why, port.trace, port.explainEvent, port.explainProposal, port.explainStep])
      await expect(ask({ id })).rejects.toMatchObject({
        code: 'OPS_012',
        hint: expect.stringContaining('full id'),
      });
  });
});
