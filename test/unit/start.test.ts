import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projectRoot } from '../../local/env.js';
import { cleanEnvironment, collectOutput, runCli } from '../support/cli.js';
import { processesNaming } from '../support/processes.js';
import { until } from '../support/until.js';

const home = mkdtempSync(join(tmpdir(), 'ops-loop-start-'));
const env = { OPS_DATA_DIR: home, OPS_PORT: '0', OPS_LOG_LEVEL: 'fatal' };
type Started = { event: string; url: string; page: string; database: string; database_url: string };
let npm: ChildProcess;
let read: ReturnType<typeof collectOutput>;
let started: Started;
let samples: { stored: number; events: { type: string; id: string }[] };

beforeAll(async () => {
  await chmod(home, 0o711);
  const args = ['run', '--silent', 'start', '--', '--samples', '--json'];
  npm = spawn('npm', args, {
    cwd: projectRoot,
    env: cleanEnvironment(env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  read = collectOutput(npm);
  const lines = await until(
    () => {
      const found = read()
        .stdout.split('\n')
        .filter((line) => line !== '');
      return found.length >= 2 && found;
    },
    { what: 'start says that it runs and has delivered samples', deadlineMs: 45_000 },
  );
  [started, samples] = lines.map((line) => JSON.parse(line)) as [Started, typeof samples];
});
afterAll(() => {
  if (npm?.exitCode === null) npm.kill('SIGKILL');
  rmSync(home, { recursive: true, force: true });
});

describe('npm start', () => {
  test('names the database without its password first, and keeps made secrets for their owner', () => {
    expect(read().stderr.split('\n')[0]).toMatch(
      /^starting on database ops_loop on 127\.0\.0\.1:\d+ as postgres, embedded$/,
    );
    expect(started.database).not.toContain(new URL(started.database_url).password);
    expect(statSync(join(home, 'secrets.json')).mode & 0o777).toBe(0o600);
  });

  test('serves health and the page', async () => {
    expect((await fetch(`${started.url}/health`)).status).toBe(200);
    expect((await fetch(started.page)).headers.get('content-type')).toContain('text/html');
  });

  test('is where `sign-in` beside it leads, whatever port it took', async () => {
    const { stdout, stderr } = await runCli(['sign-in', '--json'], { env });
    expect(stdout && JSON.parse(stdout).page, stderr).toContain(`${started.url}/#key=`);
  });

  test('is joined by other commands, and carries out what they bring', async () => {
    const issue = samples.events.find(({ type }) => type === 'issues');
    const story = await until(
      async () => {
        const { stdout } = await runCli(['trace', String(issue?.id)], { env });
        return /attempt .*succeeded/.test(stdout) && stdout;
      },
      { what: 'the sample issue is triaged' },
    );
    expect(story).toMatch(/^event .*github:issues:opened/);
  });

  test('ends with 0 at TERM to npm, and leaves no process', async () => {
    npm.kill('SIGTERM');
    const [code] = await once(npm, 'close');
    expect(code, read().stderr).toBe(0);
    expect(await processesNaming(home)).toEqual([]);
    const { code: alone, stderr } = await runCli(['status'], { env });
    expect({ alone, stderr }).toMatchObject({ alone: 69, stderr: expect.stringContaining('OPS_001') });
    expect(existsSync(join(home, 'started.json'))).toBe(false);
  });
});
