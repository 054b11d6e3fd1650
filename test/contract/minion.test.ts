/** The minion executor: real programs in a real workspace, and wreckit by its stand-in. */
import { chmod, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Json } from '../../local/executors/json.js';
import { minion } from '../../local/executors/minion/minion.js';
import { processesNaming } from '../support/processes.js';
import { until } from '../support/until.js';
import { makePrograms, makeRepository, standIns } from '../support/wreckit/repository.js';
import { checkExecutor, runStep, type Surroundings, startStep } from './kit.js';

const path = process.env.PATH;
let home = '';
let workspace = '';
/** Made by `beforeAll`, but named by what the tests are declared with. */
const lazily = (around: () => Surroundings): Surroundings => ({
  get policies() {
    return around().policies as NonNullable<Surroundings['policies']>;
  },
  get workspace() {
    return workspace;
  },
  secrets: { DEPLOY_TOKEN: 'token-of-the-test' },
});

type Commands = { [name: string]: { [field: string]: Json } };
const commands: Commands = {
  show: { program: 'echo', arguments: ['shown:', { value: 'text' }] },
  read: { program: 'cat', arguments: ['--', { value: 'path', repeat: 3, optional: true }] },
  where: { program: 'pwd', arguments: ['-P'], cwd: 'inside' },
  wait: { program: 'sleep', arguments: [{ value: 'integer', max: 1_000_000_000 }] },
  late: { program: 'sleep', arguments: ['60'], timeout_seconds: 0.1 },
  script: {
    program: 'sh',
    arguments: ['-c', { value: 'text' }],
    interpreter_consent: true,
    retry_exit_codes: [4],
  },
  leak: {
    program: 'sh',
    arguments: ['-c', 'echo "$DEPLOY_TOKEN"; env; printf "bot:%s" "$DEPLOY_TOKEN" | base64'],
    interpreter_consent: true,
    env: ['DEPLOY_TOKEN', 'NOT_SET'],
  },
};
const around = (more: { [name: string]: Json } = {}): Surroundings =>
  lazily(() => ({
    policies: {
      worker_policy: { allowed_commands: [...Object.keys(commands), 'date'], commands, ...more },
      agent_roles: {},
    },
  }));

beforeAll(async () => {
  home = await realpath(await mkdtemp(join(tmpdir(), 'ops-loop-minion-')));
  workspace = join(home, 'work');
  await mkdir(join(workspace, 'inside', 'deep'), { recursive: true });
  await writeFile(join(workspace, 'inside', 'note.txt'), 'a note');
  await writeFile(join(home, 'secret.txt'), 'canary');
  await symlink(join(home, 'secret.txt'), join(workspace, 'inside', 'link'));
  await symlink(home, join(workspace, 'inside', 'up'));
  const programs = { wreckit: standIns.wreckit, gh: standIns.gh };
  process.env.PATH = `${await makePrograms(join(home, 'bin'), programs)}:${path}`;
});
afterAll(async () => {
  process.env.PATH = path;
  await rm(home, { recursive: true });
});

checkExecutor(minion, {
  good: [
    { params: { command: 'show', arguments: ['it'] }, around: around() },
    { params: { command: 'leak' }, around: around() },
    { params: { command: 'date' }, around: around() },
  ],
  bad: [
    {},
    { command: '' },
    { command: 'show', arguments: 'it' },
    { command: 'show', arguments: [true] },
    { command: 'show', program: '/bin/sh' },
    { command: 'show', env: { PATH: '/tmp' } },
    { wreckit: { command: 'sprite', repository: 'x' } },
    { wreckit: { command: 'status', repository: 'x' }, command: 'show' },
    null,
  ],
  long: { params: { command: 'wait', arguments: [600] }, around: around() },
});

const run = (params: Json, more?: { [name: string]: Json }) => runStep(minion, params, around(more));
const failure = async (params: Json, more?: { [name: string]: Json }) => {
  const outcome = await run(params, more);
  return outcome.kind === 'fail' ? outcome.failure : outcome;
};
const refused = (error_class: string) => expect.objectContaining({ outcome: 'permanent', error_class });

describe('what may run', () => {
  test.each<[string, { [name: string]: Json }]>([
    ['empty', { allowed_commands: [] }],
    ['malformed', { allowed_commands: 'show' }],
    ['of something else', { allowed_commands: ['shown', 'sho', 'SHOW'] }],
  ])('nothing, when the list is %s', async (_, more) => {
    expect(await failure({ command: 'show', arguments: ['x'] }, more)).toEqual(refused('NotAllowed'));
  });

  test('nothing, when there is no policy, or it describes the command in a way that is not valid', async () => {
    const nothing = { policies: { worker_policy: {}, agent_roles: {} }, workspace };
    expect(await runStep(minion, { command: 'date' }, nothing)).toMatchObject({
      kind: 'fail',
      failure: refused('NotAllowed'),
    });
    for (const command of [{ program: 7 }, { unknown: true }, { arguments: [{ value: 'anything' }] }, null])
      expect(await failure({ command: 'date' }, { commands: { date: command } })).toEqual(
        refused('NotAllowed'),
      );
  });

  test('no program by its own name or path when the list has another name for it', async () => {
    for (const command of ['echo', '/bin/echo', 'show ', '__proto__', 'constructor', '../show'])
      expect(await failure({ command, arguments: ['x'] })).toEqual(refused('NotAllowed'));
  });

  test('a listed name that is not described runs the program of that name, without any argument', async () => {
    expect(await run({ command: 'date' })).toMatchObject({ kind: 'complete', result: { exit_code: 0 } });
    expect(await failure({ command: 'date', arguments: ['+%s'] })).toEqual(refused('InvalidArguments'));
  });

  test.each(['sh', 'bash', 'node', 'env', '/bin/sh'])('not %s, unless with consent', async (program) => {
    const more = (consent: object) => ({
      allowed_commands: ['run'],
      commands: { run: { program, ...consent } },
    });
    const told = await failure({ command: 'run' }, more({}));
    expect([refused('NotAllowed'), refused('NotFound')]).toContainEqual(told);
    const consented = await run({ command: 'run' }, more({ interpreter_consent: true }));
    if (consented.kind === 'fail') expect(consented.failure.error_class).not.toBe('NotAllowed');
  });

  test('nor a shell by another name, nor a program that steps could have written', async () => {
    await symlink('/bin/sh', join(home, 'innocent'));
    await writeFile(join(workspace, 'tool'), '#!/bin/sh\necho ran');
    await chmod(join(workspace, 'tool'), 0o755);
    for (const program of [join(home, 'innocent'), join(workspace, 'tool')]) {
      const more = { allowed_commands: ['run'], commands: { run: { program } } };
      expect(await failure({ command: 'run' }, more)).toEqual(refused('NotAllowed'));
    }
  });

  test('nor with variables of the loop itself', async () => {
    const more = { allowed_commands: ['date'], commands: { date: { env: ['DATABASE_URL'] } } };
    expect(await failure({ command: 'date' }, more)).toEqual(refused('NotAllowed'));
  });
});

describe('where it runs', () => {
  test('in the workspace, or where policy and step say inside of it', async () => {
    expect(await run({ command: 'where' })).toMatchObject({
      result: { stdout: `${join(workspace, 'inside')}\n` },
    });
    expect(await run({ command: 'where', cwd: 'deep' })).toMatchObject({
      result: { stdout: `${join(workspace, 'inside/deep')}\n` },
    });
    const fresh = join(home, 'not', 'there', 'yet');
    const policies = { worker_policy: { allowed_commands: ['date'] }, agent_roles: {} };
    expect(await runStep(minion, { command: 'date' }, { policies, workspace: fresh })).toMatchObject({
      kind: 'complete',
    });
  });

  test.each(['..', '/', 'up', 'link', 'note.txt', '../inside/../..', 'missing'])('not in %s', async (cwd) => {
    expect(await failure({ command: 'where', cwd })).toEqual(refused('Confinement'));
  });

  test('it reads no file outside, whatever link leads there', async () => {
    for (const file of ['../secret.txt', 'inside/link', 'inside/up/secret.txt', join(home, 'secret.txt')]) {
      const told = await failure({ command: 'read', arguments: [file] });
      expect(told).toEqual(refused('Confinement'));
      expect(JSON.stringify(told)).not.toContain('canary');
    }
    expect(await run({ command: 'read', arguments: ['inside/note.txt'] })).toMatchObject({
      result: { stdout: 'a note' },
    });
  });
});

describe('what it is given', () => {
  test.each(['$(id)', '`id`', '; id', '| id', '&& id', '\n', '$HOME', '*', '"', "'", '%s', '\\'])(
    '%j stays text',
    async (text) => {
      expect(await run({ command: 'show', arguments: [text] })).toMatchObject({
        result: { stdout: `shown: ${text}\n` },
      });
    },
  );

  test.each(['-n', '--help', '-'])('%j does not become an option', async (text) => {
    expect(await failure({ command: 'show', arguments: [text] })).toEqual(refused('InvalidArguments'));
  });

  test('text on its input', async () => {
    expect(await run({ command: 'read', stdin: '--help\n' })).toMatchObject({
      result: { stdout: '--help\n' },
    });
  });

  test('the granted variables and the key of the step, and nothing of it comes back', async () => {
    process.env.CANARY_TOKEN = 'canary-in-the-worker';
    const outcome = await runStep(minion, { command: 'leak' }, { ...around(), stepId: 'the-step' });
    delete process.env.CANARY_TOKEN;
    const text = JSON.stringify(outcome);
    expect(text).toContain('DEPLOY_TOKEN=[redacted]');
    expect(text).toContain('OPS_IDEMPOTENCY_KEY=the-step');
    expect(text).not.toMatch(/canary|token-of-the-test|NOT_SET/);
    expect(text).not.toContain(Buffer.from('bot:token-of-the-test').toString('base64').slice(8, -4));
  });
});

describe('what comes of it', () => {
  const script = (text: string) => ({ command: 'script', arguments: [text] });

  test('both outputs, and the JSON in the first', async () => {
    expect(await run(script('echo log; echo \'{"a":[1]}\'; echo done; echo err >&2'))).toEqual({
      kind: 'complete',
      events: [],
      result: {
        exit_code: 0,
        stdout: 'log\n{"a":[1]}\ndone\n',
        stderr: 'err\n',
        json: { a: [1] },
        duration_ms: expect.any(Number),
        truncated: false,
      },
    });
  });

  test('a result that can be stored, however much was said', async () => {
    const zeros = 'head -c 9000000 /dev/zero | tr "\\0" x >&2';
    const much = await run(script(`yes '[1,1,1,1,1,1,1,1]' | head -n 150000; ${zeros}`));
    expect(much).toMatchObject({ kind: 'complete', result: { json: Array(8).fill(1), truncated: true } });
    const numbers = await run(
      script(`printf '[0'; yes ,1 | head -n 65000 | tr -d '\\n'; printf ']'; ${zeros}`),
    );
    expect(numbers).toMatchObject({
      kind: 'complete',
      result: { json: Array(65_001).fill(1).fill(0, 0, 1) },
    });
  });

  test.each([
    [
      'an exit code is a failure for good, with its last words',
      'echo why >&2; exit 3',
      'permanent',
      'ExitCode',
    ],
    ['but the one for "try again" is not', 'exit 75', 'retryable', 'ExitCode'],
    ['nor one that the policy lists', 'exit 4', 'retryable', 'ExitCode'],
    ['a signal from elsewhere leaves it unknown', 'kill -9 $$', 'unknown', 'Killed'],
  ])('%s', async (_, text, outcome, error_class) => {
    expect(await failure(script(text))).toMatchObject({ outcome, error_class });
  });

  test('the error says how it ended and why', async () => {
    expect(await failure(script('echo out; echo why >&2; exit 3'))).toMatchObject({
      error: 'script ended with exit code 3: why',
    });
  });

  test('its own time limit leaves it unknown', async () => {
    expect(await failure({ command: 'late' })).toMatchObject({ outcome: 'unknown', error_class: 'TimedOut' });
  });

  test('a program that is not there', async () => {
    const more = { allowed_commands: ['no-such-program'] };
    expect(await failure({ command: 'no-such-program' }, more)).toEqual(refused('NotFound'));
  });

  test('nothing is left of it when its step is ended', async () => {
    const sleep = 600_000_000 + Math.floor(Math.random() * 1e8);
    const started = startStep(minion, { command: 'wait', arguments: [sleep] }, around());
    await until(async () => (await processesNaming(String(sleep))).length > 0, { what: 'it sleeps' });
    started.end('cancelled');
    expect(await started.outcome).toMatchObject({ failure: { outcome: 'cancelled' } });
    expect(await processesNaming(String(sleep))).toEqual([]);
  });
});

describe('wreckit commands', () => {
  test('run as the wreckit executor runs them, by the same grants', async () => {
    const repository = await makeRepository(join(workspace, 'shop'));
    await repository.item('001-lamp');
    const params = { wreckit: { command: 'show', repository: 'shop', item: 'lamp' } };
    expect(await failure(params)).toEqual(refused('NotAllowed'));
    expect(await run(params, { allowed_wreckit_subcommands: ['show'] })).toMatchObject({
      kind: 'complete',
      result: { command: 'show', state: 'idea', changed: false },
    });
  });
});

describe('doctor', () => {
  const examine = async (more: { [name: string]: Json }) => {
    const { policies } = around(more);
    const config = policies ?? { worker_policy: {}, agent_roles: {} };
    const ctx = { config, workspace, secret: () => undefined, setting: () => undefined };
    return (await minion.doctor?.(ctx))?.map(({ name, ok }) => [name, ok]);
  };

  test('says of each allowed command whether it can run here', async () => {
    const allowed_commands = ['show', 'leak', 'bash', 'no-such-program', 'date'];
    expect(await examine({ allowed_commands })).toEqual([
      ['processes', expect.any(Boolean)],
      ['minion:show', true],
      ['minion:leak', false],
      ['minion:bash', false],
      ['minion:no-such-program', false],
      ['minion:date', true],
    ]);
    expect(await examine({ allowed_commands: [] })).toEqual([['minion', true]]);
  });
});
