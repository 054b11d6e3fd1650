import { describe, expect, test } from 'vitest';
import { runCli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';

const database = useDatabase();
const env = (): Record<string, string> => ({ DATABASE_URL: database.url, OPS_LOG_LEVEL: 'fatal' });
const run = (...args: string[]) => runCli(args, { env: env() });
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

  test('heartbeat decides it, a worker drains it, why and trace tell its story', async () => {
    const { answer: event } = await json('emit', 'demo:hello', '--dedupe-key', 'story');
    expect((await json('heartbeat')).answer).toMatchObject({ ok: true, failures: [] });
    const worker = await run('worker', '--once', '--name', 'cli-test');
    expect(worker.code, worker.stderr).toBe(0);
    expect(worker.stdout).toMatch(/^worker cli-test, database /);
    expect((await json('why', String(event.id))).answer).toMatchObject({ kind: 'event', id: event.id });
    const trace = await run('trace', String(event.id));
    expect(trace.code, trace.stderr).toBe(0);
    expect(trace.stdout).toMatch(/^event {2}.*demo:hello/);
    expect(trace.stdout.match(/└─ attempt .* succeeded/g)).toHaveLength(2);
  });

  test('a worker with nothing to do says so', async () => {
    const { code, stdout } = await run('worker', '--once', '--name', 'idle');
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

  test('a dead letter is listed, requeued, and its step may be retried', async () => {
    await propose('--params', '{"fail":"permanent"}');
    await run('worker', '--once', '--name', 'failing');
    const listed = await runCli(['dlq', '--json'], { env: env() });
    const [letter] = JSON.parse(listed.stdout) as { id: string; step_id: string }[];
    expect(letter).toMatchObject({ executor: 'noop', cause: 'permanent', state: 'open' });
    expect(await json('dlq', 'requeue', String(letter?.id))).toMatchObject({ code: 0 });
    await run('worker', '--once', '--name', 'failing');
    expect(await json('retry', String(letter?.step_id))).toMatchObject({
      code: 0,
      answer: { kind: 'step', status: 'queued' },
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
    const { stdout } = await runCli(['policy', 'history', 'proposal_caps', '--json'], { env: env() });
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
