import { describe, expect, test } from 'vitest';
import { callCli, runCli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';

const database = useDatabase();
const env = (): Record<string, string> => ({ DATABASE_URL: database.url, OPS_LOG_LEVEL: 'fatal' });
const run = (...args: string[]) => callCli(args, env());
const unknownId = '00000000-0000-4000-8000-000000000000';

/** Runs with `--json` and answers the exit code and the one document. */
async function json(...args: string[]): Promise<{ code: number | null; answer: Record<string, unknown> }> {
  const { code, stdout, stderr } = await run(...args, '--json');
  expect(stdout.trim().split('\n'), stderr).toHaveLength(1);
  return { code, answer: JSON.parse(stdout) };
}

const propose = (...args: string[]) => json('propose', '--kind', 'noop', ...args);

describe('commands on a database', () => {
  test('emit records an event once per dedupe key, with data from stdin', async () => {
    const input = '{"name":"Ada"}';
    const args = ['emit', 'demo:hello', '--data', '-', '--dedupe-key', 'one', '--json'];
    const first = JSON.parse((await runCli(args, { env: env(), input })).stdout);
    const second = JSON.parse((await runCli(args, { env: env(), input })).stdout);
    expect([first.created, second.created]).toEqual([true, false]);
    expect(second.id).toBe(first.id);
    expect(await database.one('select data from public.ops_agent_events where id = $1', [first.id])).toEqual({
      data: { name: 'Ada' },
    });
  });

  test('emit keeps every digit of a number', async () => {
    const { answer: event } = await json('emit', 'cli:exact', '--data', '{"id": 12345678901234567890}');
    expect(
      await database.one("select data ->> 'id' as id from public.ops_agent_events where id = $1", [event.id]),
    ).toEqual({ id: '12345678901234567890' });
  });

  test('heartbeat decides it, a worker drains it, why and trace tell its story', async () => {
    const { answer: event } = await json('emit', 'demo:hello', '--dedupe-key', 'story');
    expect((await json('heartbeat')).answer).toMatchObject({ ok: true, failures: [] });
    const worker = await runCli(['worker', '--once', '--name', 'cli-test'], { env: env() });
    expect(worker.code, worker.stderr).toBe(0);
    expect(worker.stdout).toMatch(/^worker cli-test, database /);
    expect((await json('why', String(event.id))).answer).toMatchObject({ kind: 'event', id: event.id });
    const trace = await run('trace', String(event.id));
    expect(trace.code, trace.stderr).toBe(0);
    expect(trace.stdout).toMatch(/^event {2}.*demo:hello/);
    expect(trace.stdout.match(/└─ attempt .* succeeded/g)).toHaveLength(2);
  });

  test('a worker with nothing to do says so', async () => {
    const { code, stdout } = await runCli(['worker', '--once', '--name', 'idle'], { env: env() });
    expect(code).toBe(0);
    expect(stdout).toContain('No queued steps');
  });

  test('propose is approved by policy, waits, or is refused', async () => {
    expect(await propose()).toMatchObject({ code: 0, answer: { status: 'auto_approved' } });
    expect(await propose('--risk', 'critical')).toMatchObject({ code: 0, answer: { status: 'pending' } });
    expect(await json('propose', '--kind', 'nope')).toMatchObject({
      code: 2,
      answer: { error: { code: 'OPS_005' } },
    });
  });

  test('approve works once: then it is an illegal transition, and an unknown id is not found', async () => {
    const { answer } = await propose('--risk', 'critical', '--title', 'Ask me');
    const id = String(answer.id);
    const status = await run('status');
    expect(status.code, status.stderr).toBe(0);
    expect(status.stdout).toContain(id);
    expect(await json('approve', id, '--reason', 'fine')).toMatchObject({
      code: 0,
      answer: { status: 'approved' },
    });
    expect(await json('reject', id)).toMatchObject({ code: 3, answer: { error: { code: 'OPS_015' } } });
    expect(await json('approve', unknownId)).toMatchObject({
      code: 4,
      answer: { error: { code: 'OPS_012' } },
    });
  });

  test('status begins with what expires first and says how many more wait', async () => {
    await database.sql(
      "update public.ops_policy set value = '{\"expires_minutes\": 600}' where key = 'approvals'",
    );
    for (let n = 10; n < 33; n++) await propose('--risk', 'critical', '--title', `Plan ${n}`);
    const listed = (await json('status')).answer.waiting_proposals as { title: string }[];
    const plans = listed.map(({ title }) => title).filter((title) => title.startsWith('Plan '));
    expect(plans.slice(0, 2)).toEqual(['Plan 10', 'Plan 11']);
    const { stdout } = await run('status');
    expect(stdout).toMatch(/Plan 10[\s\S]*Plan 11/);
    expect(stdout).toMatch(/^and \d+ more$/m);
    await database.sql(
      "update public.ops_mission_proposals set status = 'rejected' where title like 'Plan %'",
    );
  });

  test('a time is a span back or an ISO time, for every command the same', async () => {
    for (const line of ['replay --since', 'policy simulate --since', 'policy simulate --until'])
      for (const wrong of ['7', '-1', '2001', 'last 3', '2026-03-01T09:00', '2026-02-30', 'May 1']) {
        const { code, stderr } = await run(...line.split(' '), wrong);
        expect([code, stderr], `${line} ${wrong}`).toEqual([2, expect.stringContaining('7d')]);
      }
    const { stderr } = await run('replay', '--since', '7');
    expect(stderr).toContain('Say 7d for days, 7h for hours.');
    for (const right of ['2030-03-01', '2030-03-01T09:00Z', '2030-03-01T09:00:00.5+02:00', '0m'])
      expect(await run('replay', '--since', right)).toMatchObject({ code: 0 });
  });

  test('replaying for a pattern that is not there is refused, and a list of one moment is replayed whole', async () => {
    expect(await json('replay', '--since', '1d', '--pattern', 'nosuch')).toMatchObject({
      code: 4,
      answer: { error: { code: 'OPS_012', message: 'there is no enabled pattern nosuch' } },
    });
    await database.sql(`insert into public.ops_agent_events (type, created_at, outcome, decided_at, processed_at)
      select 'past:one', timestamptz '2020-01-01', 'unmatched', now(), now() from generate_series(1, 1003)`);
    expect((await json('replay', '--since', '2019-12-31')).answer.reopened).toBeGreaterThanOrEqual(1003);
    await run('heartbeat');
  });

  test('a dead letter is listed, requeued, and its step may be retried', async () => {
    await propose('--params', '{"fail":"permanent"}');
    await run('worker', '--once', '--name', 'failing');
    const listed = await run('dlq', '--json');
    const [letter] = JSON.parse(listed.stdout) as { id: string; step_id: string }[];
    expect(letter).toMatchObject({ executor: 'noop', cause: 'permanent', state: 'open' });
    expect(await json('dlq', 'requeue', String(letter?.id))).toMatchObject({ code: 0 });
    await run('worker', '--once', '--name', 'failing');
    expect(await json('retry', String(letter?.step_id))).toMatchObject({
      code: 0,
      answer: { kind: 'step', status: 'queued' },
    });
  });

  test('cancel ends a step or a mission that has not run, once, and says what it is given instead', async () => {
    const twoSteps = async () => {
      const template = { title: 'two', risk_level: 'low', steps: [{ kind: 'noop' }, { kind: 'noop' }] };
      const { made } = await database.one<{ made: { mission_id: string } }>(
        'select public.ops_create_proposal($1) as made',
        [JSON.stringify(template)],
      );
      const rows = await database.sql<{ id: string }>(
        'select id from public.ops_mission_steps where mission_id = $1 order by key',
        [made.mission_id],
      );
      return { mission: made.mission_id, steps: rows.map(({ id }) => id) };
    };
    const one = await twoSteps();
    expect(await json('cancel', one.mission, '--reason', 'not today')).toEqual({
      code: 0,
      answer: { kind: 'mission', id: one.mission, status: 'cancelled', steps: 2 },
    });
    expect((await json('cancel', one.mission)).answer).toMatchObject({ status: 'cancelled', steps: 0 });
    expect((await run('why', one.steps[0] ?? '')).stdout).toContain('not today');

    const two = await twoSteps();
    const cancelled = await run('cancel', two.steps[1] ?? '');
    expect([cancelled.code, cancelled.stdout]).toEqual([0, `step ${two.steps[1]} cancelled\n`]);
    await run('worker', '--once', '--name', 'after-cancel');
    expect((await run('cancel', two.steps[0] ?? '')).stdout).toContain('succeeded: it had ended before');
    expect(await database.one('select status from public.ops_missions where id = $1', [two.mission])).toEqual(
      {
        status: 'cancelled',
      },
    );
  });

  test('cancel and retry take steps and missions only', async () => {
    const { answer: event } = await json('emit', 'cli:nothing');
    for (const verb of ['cancel', 'retry'])
      expect(await json(verb, String(event.id))).toMatchObject({
        code: 2,
        answer: { error: { code: 'OPS_011', message: `${event.id} is an event` } },
      });
    expect(await json('cancel', unknownId)).toMatchObject({
      code: 4,
      answer: { error: { code: 'OPS_012' } },
    });
  });

  test('dead letters are requeued by filter, and a name that is none is refused', async () => {
    await propose('--params', '{"fail":"permanent"}');
    await run('worker', '--once', '--name', 'failing');
    expect((await json('dlq', 'requeue-all', '--executor', 'radar')).answer).toEqual({
      requeued: 0,
      more: false,
    });
    const { code, answer } = await json('dlq', 'requeue-all', '--cause', 'permanent', '--per-minute', '60');
    expect(code).toBe(0);
    expect(answer.requeued).toBeGreaterThan(0);
    expect((await json('dlq', 'requeue-all', '--cause', 'bored')).code).toBe(2);
  });

  test('pause and resume, policy set and validate', async () => {
    expect((await json('pause', 'executor:radar', '--reason', 'test')).code).toBe(0);
    expect((await json('resume', 'executor:radar')).code).toBe(0);
    expect(await json('policy', 'validate', 'auto_approve', '{"enabled":1}')).toMatchObject({
      code: 2,
      answer: { ok: false },
    });
    const set = await json('policy', 'set', 'loop_limits', '{"max_depth":5}', '--reason', 'test');
    expect(set.answer).toMatchObject({ key: 'loop_limits' });
  });

  test('policy get prints what policy set takes, and policy history says who and why', async () => {
    const got = await run('policy', 'get', 'proposal_caps');
    expect(got.code, got.stderr).toBe(0);
    const value = { ...JSON.parse(got.stdout), max_pending: 7 };
    const set = ['policy', 'set', 'proposal_caps', '-', '--reason', 'a short queue', '--json'];
    expect((await runCli(set, { env: env(), input: JSON.stringify(value) })).code).toBe(0);
    const { stdout } = await run('policy', 'history', 'proposal_caps', '--json');
    const [latest, before] = JSON.parse(stdout);
    expect(latest).toMatchObject({
      key: 'proposal_caps',
      reason: 'a short queue',
      value,
    });
    expect(latest.application).toBe('ops-loop policy set');
    expect(latest.version).toBeGreaterThan(before.version);
    expect((await run('policy', 'history', 'proposal_caps')).stdout).toMatch(/a short queue/);
    expect(await json('policy', 'get', 'budgets')).toMatchObject({
      code: 4,
      answer: { error: { code: 'OPS_002' } },
    });
  });

  test('migrate a second time changes nothing, and the files are the applied ones', async () => {
    expect((await json('migrate')).answer).toMatchObject({ applied: [] });
    expect(await json('verify-migrations')).toMatchObject({ code: 0, answer: { ok: true } });
  });

  test('doctor names what does not hold, and fails', async () => {
    const invariants = async () => {
      const { code, answer } = await json('doctor');
      const checks = answer.checks as { check: string; findings: string[] }[];
      return { code, findings: checks.find(({ check }) => check === 'invariants')?.findings };
    };
    expect((await invariants()).findings).toEqual([]);
    await database.sql(`insert into public.ops_step_dead_letters (step_id, mission_id, kind, executor, cause, attempts)
      select id, mission_id, kind, executor, 'exhausted', 3 from public.ops_mission_steps where status = 'succeeded' limit 1`);
    expect(await invariants()).toMatchObject({
      code: 1,
      findings: [expect.stringMatching(/^dead letter without failed step/)],
    });
    await database.sql('delete from public.ops_step_dead_letters');
  });
});
