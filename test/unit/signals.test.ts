import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { projectRoot } from '../../local/env.js';
import { openDatabase } from '../../supabase/client/pg.js';
import { cleanEnvironment, collectOutput, startCli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';
import { until } from '../support/until.js';

const database = useDatabase();
const started: ChildProcess[] = [];

afterEach(() => {
  for (const child of started.splice(0)) if (child.exitCode === null) child.kill('SIGKILL');
});

const variables = (name: string) => ({
  DATABASE_URL: database.url,
  OPS_WORKER_NAME: name,
  OPS_LOG_LEVEL: 'info',
});

function startNpmWorker(name: string): ChildProcess {
  const env = { ...cleanEnvironment(variables(name)), npm_config_update_notifier: 'false' };
  const child = spawn('npm', ['run', '--silent', 'worker'], {
    cwd: projectRoot,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started.push(child);
  return child;
}

/** Waits until the worker holds a step that takes a while; answers its id. */
async function runningStep(name: string): Promise<string> {
  const { port, close } = openDatabase({ connectionString: database.url });
  const steps = [{ kind: 'noop', params: { sleep_ms: 1_500 } }];
  await port.createProposal({ template: { title: name, risk_level: 'low', steps }, source: 'manual' });
  await close();
  const look = () =>
    database.sql<{ id: string }>(
      "select id from public.ops_mission_steps where status = 'running' and worker_id = $1",
      [name],
    );
  const [row] = await until(
    async () => {
      const rows = await look();
      return rows.length > 0 && rows;
    },
    { what: `${name} runs the step` },
  );
  return row?.id ?? '';
}

const statusOf = (id: string) =>
  database.one<{ status: string }>('select status from public.ops_mission_steps where id = $1', [id]);
const registered = (name: string) => database.sql('select from public.ops_workers where name = $1', [name]);

describe('a worker that is told to stop', () => {
  test('TERM to the npm parent: the running step finishes, the worker unregisters, both exit with 0', async () => {
    const npm = startNpmWorker('under-npm');
    const read = collectOutput(npm);
    const step = await runningStep('under-npm');
    npm.kill('SIGTERM');
    const [code, signal] = await once(npm, 'close');
    expect({ code, signal }, read().stderr).toEqual({ code: 0, signal: null });
    expect(await statusOf(step)).toEqual({ status: 'succeeded' });
    expect(await registered('under-npm')).toEqual([]);
  });

  test('a second signal forces it: 128 + the signal, the step is left to its lease', async () => {
    const child = startCli(['worker'], { env: variables('forced') });
    started.push(child);
    const read = collectOutput(child);
    const step = await runningStep('forced');
    child.kill('SIGTERM');
    await until(() => read().stderr.includes('worker.draining'), { what: 'the first signal is heard' });
    child.kill('SIGTERM');
    const [code] = await once(child, 'close');
    expect(code, read().stderr).toBe(143);
    expect(await statusOf(step)).toEqual({ status: 'running' });
  });

  test('a second worker of the same name says so and exits with 0', async () => {
    const first = startCli(['worker'], { env: variables('twice') });
    started.push(first);
    await until(async () => (await registered('twice')).length > 0, {
      what: 'the first is registered',
    });
    const second = startCli(['worker', '--json'], { env: variables('twice') });
    started.push(second);
    const read = collectOutput(second);
    const [code] = await once(second, 'close');
    expect(code, read().stderr).toBe(0);
    const messages = read()
      .stdout.trim()
      .split('\n')
      .map((line) => JSON.parse(line).message);
    expect(messages.at(0)).toContain('database ');
    expect(messages.at(-1)).toBe('worker already running');
    first.kill('SIGINT');
    expect((await once(first, 'close'))[0]).toBe(0);
  });
});
