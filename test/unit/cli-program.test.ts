import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { exitCodeMeanings, exitCodeOf, exitCodes } from '../../local/cli/exit-codes.js';
import { createProgram, usageProblem } from '../../local/cli/program.js';
import { projectRoot } from '../../local/env.js';
import { errorTable, type OpsCode } from '../../supabase/client/errors.js';
import { callCli, runCli } from '../support/cli.js';

const home = mkdtempSync(join(tmpdir(), 'ops-loop-cli-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));
/** No database chosen, none running. */
const env = { OPS_DATA_DIR: join(home, 'data') };
const unusedId = '00000000-0000-4000-8000-000000000000';

describe('the command line', () => {
  test('suggests the nearest command and exits with 2', async () => {
    const { code, stdout, stderr } = await runCli(['statu'], { env });
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain("unknown command 'statu'");
    expect(stderr).toContain('→ Did you mean status?');
  });

  test('suggests the nearest option, as JSON when asked for it', async () => {
    const { code, stdout, stderr } = await callCli(['status', '--wach', '--json'], env);
    expect({ code, stderr }).toEqual({ code: 2, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({
      error: { code: 'OPS_011', message: "unknown option '--wach'", hint: 'Did you mean --watch?' },
    });
  });

  test('says that a short id is not supported', async () => {
    const { code, stderr } = await callCli(['approve', '0f8b1c2e'], env);
    expect(code).toBe(2);
    expect(stderr).toContain('short forms are not supported');
  });

  test('lists the exit codes under --help', async () => {
    const { code, stdout } = await runCli(['--help'], { env });
    expect(code).toBe(0);
    for (const value of Object.values(exitCodes)) expect(stdout).toMatch(new RegExp(`^ +${value}  `, 'm'));
  });

  test('without a database exits with 69 and says how to choose one', async () => {
    const { code, stderr } = await runCli(['why', unusedId], { env });
    expect(code).toBe(69);
    expect(stderr).toContain('OPS_001');
    expect(stderr).toContain('DATABASE_URL');
  });

  test('with SUPABASE_URL alone says what is missing', async () => {
    const { code, stderr } = await callCli(['status'], { ...env, SUPABASE_URL: 'https://x.supabase.co' });
    expect(code).toBe(2);
    expect(stderr).toContain('not SUPABASE_SERVICE_ROLE_KEY');
  });

  test('with an unreachable database exits with 69 and does not show its password', async () => {
    const url = 'postgresql://postgres:s3cret@127.0.0.1:1/none';
    const { code, stdout, stderr } = await runCli(['status', '--json'], {
      env: { ...env, DATABASE_URL: url },
    });
    expect(code).toBe(69);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'OPS_001' } });
    expect(stdout + stderr).not.toContain('s3cret');
  });

  test('refuses data that is not JSON before it looks for a database', async () => {
    const { code, stderr } = await callCli(['emit', 'a:b', '--data', '{nope'], env);
    expect(code).toBe(2);
    expect(stderr).toContain('--data is not JSON');
  });

  test('makes a sign-in link from a key alone, and says what to do without one', async () => {
    const key = 'k'.repeat(40);
    const link = await runCli(['sign-in', '--json'], {
      env: { ...env, OPS_API_KEY: key, OPS_HOST: '0.0.0.0' },
    });
    expect(link.code, link.stderr).toBe(0);
    expect(JSON.parse(link.stdout).page).toMatch(/^http:\/\/127\.0\.0\.1:8787\/#key=\d+\.[\w-]+\.[\w-]+$/);
    expect(link.stdout).not.toContain(key);
    const url = 'https://ops.example.com/health';
    const there = await callCli(['sign-in', '--url', url], { ...env, OPS_API_KEY: key });
    expect(there.stdout).toMatch(/^https:\/\/ops\.example\.com\/#key=/);
    const none = await callCli(['sign-in'], env);
    expect(none).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('npm start') });
  });

  test('checks the environment and shows no secret', async () => {
    const bad = { ...env, OPS_API_KEY: 'too-short', OPS_PORT: 'ninety' };
    const { code, stdout, stderr } = await runCli(['check-env', '--json'], { env: bad });
    expect(code).toBe(2);
    const answer = JSON.parse(stdout) as { ok: boolean; problems: string[] };
    expect(answer.ok).toBe(false);
    expect(answer.problems).toHaveLength(2);
    expect(stdout + stderr).not.toMatch(/too-short|ninety/);
  });
});

describe('a call', () => {
  test('loads the command that it names and no other', async () => {
    const names = (await createProgram()).commands.map((command) => command.name());
    for (const name of names) {
      const { commands } = await createProgram(undefined, {}, name);
      expect(commands.map((command) => command.name())).toEqual([name]);
    }
  });

  // Vitest loads modules its own way, and tests call commands in its process.
  test('and every module of local/ loads without Vitest', async () => {
    const isProgram = (file: string) => ['cli/main.ts', 'benchmark/worker-process.ts'].includes(file);
    const files = readdirSync(join(projectRoot, 'local'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !isProgram(file))
      .map((file) => `./local/${file}`);
    expect(files.length).toBeGreaterThan(100);
    const code = `await Promise.all(${JSON.stringify(files)}.map((file) => import(file)))`;
    const args = ['--import', 'tsx', '--input-type=module', '--eval', code];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: projectRoot });
    expect({ stdout, stderr }).toEqual({ stdout: '', stderr: '' });
  });
});

describe('exit codes', () => {
  test('every error code has one that is not 0', () => {
    for (const code of Object.keys(errorTable) as OpsCode[]) expect(exitCodeOf(code), code).not.toBe(0);
    expect(exitCodeOf('OPS_015')).toBe(3);
    expect(exitCodeOf('OPS_012')).toBe(4);
  });

  test('docs/cli.md lists the codes and commands that there are', async () => {
    const page = readFileSync(join(projectRoot, 'docs/cli.md'), 'utf8');
    const rows = [...page.matchAll(/^\| (\d+) \| (.*) \|$/gm)].map(([, code, meaning]) => [
      Number(code),
      meaning,
    ]);
    expect(rows).toEqual(Object.entries(exitCodeMeanings).map(([code, meaning]) => [Number(code), meaning]));
    const names = (await createProgram()).commands.flatMap((command) => [
      command.name(),
      ...command.aliases(),
    ]);
    expect(names.filter((name) => !page.includes(`\`${name}`))).toEqual([]);
  });

  test("commander's second line becomes the hint", () => {
    expect(usageProblem('error: a\n(Did you mean b?)')).toMatchObject({
      message: 'a',
      hint: 'Did you mean b?',
    });
    expect(usageProblem('error: a').hint).toContain('--help');
  });
});
