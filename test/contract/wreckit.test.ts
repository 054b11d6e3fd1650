/** The wreckit executor against the stand-in, in real git repositories. */
import { existsSync, mkdtempSync, realpathSync } from 'node:fs';
import { mkdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Json } from '../../local/executors/json.js';
import { wreckit } from '../../local/executors/wreckit/wreckit.js';
import { until } from '../support/until.js';
import {
  makePrograms,
  makeRepository,
  standIns,
  type TestRepository,
} from '../support/wreckit/repository.js';
import { checkExecutor, runStep, type Surroundings, startStep } from './kit.js';

const path = process.env.PATH;
const everything = ['status', 'list', 'show', 'ideas', 'run', 'next', 'doctor', 'rollback'];
const phases = ['research', 'plan', 'implement', 'critique', 'pr', 'complete'];
const forced = ['run', 'critique', 'research', 'plan'].map((word) => `${word} --force`);
const policy = { allowed_wreckit_subcommands: [...everything, ...phases, ...forced, 'doctor --fix'] };

const home = realpathSync(mkdtempSync(join(tmpdir(), 'wreckit-')));
let number = 0;
let repository: TestRepository;
const programs = { wreckit: standIns.wreckit, silent: 'sh -c :' };
beforeAll(async () => {
  process.env.PATH = `${await makePrograms(join(home, 'bin'), programs)}:${path}`;
  const kit = await makeRepository(join(home, 'work', 'kit'));
  await kit.item('001-lamp');
  await kit.script({ holds: true });
});
beforeEach(async () => {
  repository = await makeRepository(join(home, 'work', `shop-${++number}`));
  await repository.item('001-lamp');
});
afterAll(async () => {
  process.env.PATH = path;
  await rm(home, { recursive: true, force: true });
});

const around = (more: { [name: string]: Json } = {}, rest: Surroundings = {}): Surroundings => ({
  workspace: join(home, 'work'),
  policies: { worker_policy: { ...policy, ...more }, agent_roles: {} },
  ...rest,
});

checkExecutor(wreckit, {
  good: [{ params: { command: 'status', repository: 'kit' }, around: around() }],
  bad: [
    {},
    { command: 'sprite', repository: 'kit' },
    { command: 'run', repository: 'kit' },
    { command: 'run', item: '1' },
    { command: 'run', repository: 'kit', item: '--help' },
    { command: 'status', repository: 'kit', cwd: '/' },
    { command: 'ideas', repository: 'kit' },
    { command: 'ideas', repository: 'kit', text: ' \n' },
    { command: 'ideas', repository: 'kit', text: 'a', file: 'b' },
    { command: 'ideas', repository: 'kit', text: 'x'.repeat(100_001) },
  ],
  long: { params: { command: 'run', repository: 'kit', item: '1' }, around: around() },
});

const step = (params: object, given: Surroundings = around()) =>
  runStep(wreckit, { repository: repository.directory, ...params }, given);
/** The result, or the failure. */
async function answer(params: object, given?: Surroundings) {
  const outcome = await step(params, given);
  if (outcome.kind === 'complete') return outcome.result;
  return outcome.kind === 'fail' ? outcome.failure : outcome.kind;
}
const argvs = async () => (await repository.calls()).map(({ argv }) => argv.join(' '));

describe('reads', () => {
  test('status, list and show, each with what wreckit says', async () => {
    await repository.item('002-desk', {
      state: 'in_pr',
      pr_url: 'https://github.com/o/r/pull/1',
      pr_number: 1,
    });
    const desk = { number: 2, id: '002-desk', state: 'in_pr', title: 'A lamp' };
    expect(await answer({ command: 'status' })).toMatchObject({
      state: 'listed',
      items: [{ id: '001-lamp' }, desk],
    });
    expect(await answer({ command: 'list', state: 'in_pr' })).toMatchObject({ items: [{ id: '002-desk' }] });
    expect(await answer({ command: 'show', item: 'desk' })).toMatchObject({
      state: 'awaiting_merge',
      changed: false,
      item: { id: '002-desk', pr_number: 1, state: 'in_pr' },
    });
  });

  test('JSON among log lines', async () => {
    await repository.script({ noise: true });
    expect(await answer({ command: 'show', item: '1' })).toMatchObject({ item: { id: '001-lamp' } });
  });

  test('nothing out of an answer that was cut off, and starts nothing on it', async () => {
    await repository.script({ garbage: 'show' });
    expect(await answer({ command: 'run', item: '1' })).toMatchObject({
      outcome: 'retryable',
      error_class: 'UnreadableAnswer',
    });
    expect(await argvs()).toEqual(['show 1 --json']);
  });

  test.each([
    ['nobody', 'ITEM_NOT_FOUND'],
    ['lamp', 'AMBIGUOUS_ID'],
  ])('no item %s: %s, for good', async (item, code) => {
    await repository.item('002-lamp');
    expect(await answer({ command: 'run', item })).toMatchObject({ outcome: 'permanent', error_class: code });
  });
});

describe('run', () => {
  test('that ends with an open pull request succeeds as awaiting_merge, though wreckit exits 1', async () => {
    expect(await answer({ command: 'run', item: '1' })).toEqual({
      command: 'run',
      state: 'awaiting_merge',
      changed: true,
      item: expect.objectContaining({
        id: '001-lamp',
        state: 'in_pr',
        pr_url: 'https://github.com/o/r/pull/1',
      }),
    });
    expect(await answer({ command: 'run', item: '1' })).toMatchObject({
      state: 'awaiting_merge',
      changed: false,
    });
    await repository.item('001-lamp', { merged: true });
    expect(await answer({ command: 'run', item: '1' })).toMatchObject({ state: 'done', changed: true });
  });

  test('of an item that is done starts nothing', async () => {
    await repository.item('001-lamp', { state: 'done' });
    expect(await answer({ command: 'run', item: '1' })).toMatchObject({ state: 'done', changed: false });
    expect(await argvs()).toEqual(['show 1 --json']);
  });

  test('that fails in a phase is tried again, and goes on from there', async () => {
    await repository.script({ fails: { implement: 'Agent timed out' } });
    expect(await answer({ command: 'run', item: 'lamp' })).toEqual({
      outcome: 'retryable',
      error_class: 'PHASE_FAILED',
      error: 'wreckit run 001-lamp ended with code 1 and left 001-lamp in planned: Agent timed out',
    });
    await repository.script({});
    expect(await answer({ command: 'run', item: 'lamp' })).toMatchObject({ state: 'awaiting_merge' });
  });

  test('in a state without a next phase fails for good, though wreckit exits 0', async () => {
    await repository.item('001-lamp', { state: 'raw' });
    expect(await answer({ command: 'run', item: '1' })).toMatchObject({
      outcome: 'permanent',
      error_class: 'UnknownState',
      error: expect.stringContaining('code 0'),
    });
  });

  test('has the repository as working directory, CI set, only the listed environment, and shows no secret', async () => {
    process.env.CANARY = 'canary-of-the-worker';
    await repository.script({ fails: { research: 'refused token/of-github token%2Fof-github' } });
    const given = around({ wreckit_environment: ['GH_TOKEN'] }, { secrets: { GH_TOKEN: 'token/of-github' } });
    const found = await answer(
      { command: 'run', item: '1' },
      { ...given, stepId: '7f0c6c2e-1f1c-4f57-9a35-5d0f2f6c7a11' },
    );
    expect(found).toMatchObject({ error: expect.stringMatching(/refused \[redacted\] \[redacted\]$/) });
    delete process.env.CANARY;
    for (const { cwd, env } of await repository.calls()) {
      expect(cwd).toBe(repository.directory);
      expect(env).toMatchObject({ CI: '1', GIT_TERMINAL_PROMPT: '0', GH_TOKEN: 'token/of-github' });
      expect(env.OPS_IDEMPOTENCY_KEY).toBe('7f0c6c2e-1f1c-4f57-9a35-5d0f2f6c7a11');
      expect(JSON.stringify(env)).not.toContain('canary-of-the-worker');
    }
    expect(await argvs()).toEqual(['show 1 --json', 'run 001-lamp', 'show 001-lamp --json']);
  });
});

describe('phases', () => {
  test('of one command each, up to the pull request', async () => {
    await repository.item('001-lamp', { state: 'critique' });
    const pr = { command: 'pr', state: 'awaiting_merge', changed: true };
    expect(await answer({ command: 'pr', item: '1' })).toMatchObject(pr);
    const waiting = { command: 'complete', state: 'awaiting_merge', changed: false };
    expect(await answer({ command: 'complete', item: '1' })).toMatchObject(waiting);
  });

  test('that the item has been through succeed and start nothing', async () => {
    await repository.item('001-lamp', { state: 'planned' });
    expect(await answer({ command: 'research', item: '1' })).toMatchObject({
      state: 'planned',
      changed: false,
    });
    expect(await argvs()).toEqual(['show 1 --json']);
  });

  test('that are forced have to end well too', async () => {
    await repository.item('001-lamp', { state: 'planned' });
    expect(await answer({ command: 'research', item: '1', force: true })).toMatchObject({
      outcome: 'permanent',
      error_class: 'INVALID_TRANSITION',
    });
    await repository.item('001-lamp', { state: 'critique' });
    expect(await answer({ command: 'critique', item: '1', force: true })).toMatchObject({
      state: 'critique',
    });
  });

  test('out of order fail for good', async () => {
    expect(await answer({ command: 'plan', item: '1' })).toMatchObject({
      outcome: 'permanent',
      error_class: 'INVALID_STATE',
    });
  });

  test('of a critic who turns the work down fail for good, though wreckit exits 0', async () => {
    await repository.item('001-lamp', { state: 'implementing' });
    await repository.script({ rejects: true });
    expect(await answer({ command: 'critique', item: '1' })).toMatchObject({
      outcome: 'permanent',
      error_class: 'CritiqueRejected',
      error: expect.stringContaining('it is a stub'),
    });
  });
});

describe('next', () => {
  test('takes the first item that is not done, and says which', async () => {
    await repository.item('001-lamp', { state: 'done' });
    await repository.item('002-desk');
    expect(await answer({ command: 'next' })).toMatchObject({
      state: 'awaiting_merge',
      changed: true,
      item: { id: '002-desk' },
    });
  });

  test('has nothing to do when all is done, and starts nothing', async () => {
    await repository.item('001-lamp', { state: 'done' });
    expect(await answer({ command: 'next' })).toEqual({
      command: 'next',
      state: 'nothing_to_do',
      changed: false,
    });
    expect(await argvs()).toEqual(['status --json']);
  });

  test('is blocked when all that is left waits for other items, though wreckit says all is complete', async () => {
    await repository.item('001-lamp', { depends_on: ['002-desk'] });
    expect(await answer({ command: 'next' })).toMatchObject({ state: 'blocked', changed: false });
  });

  test('fails with the item it took', async () => {
    await repository.script({ fails: { plan: 'the plan is too thin' } });
    expect(await answer({ command: 'next' })).toMatchObject({
      outcome: 'retryable',
      error: expect.stringContaining('left 001-lamp in researched: '),
    });
  });
});

describe('last words that were lost', () => {
  test('change nothing where the state says it', async () => {
    await repository.script({ mute: true });
    expect(await answer({ command: 'next' })).toMatchObject({
      state: 'awaiting_merge',
      item: { id: '001-lamp' },
    });
    expect(await answer({ command: 'complete', item: '1' })).toMatchObject({ state: 'awaiting_merge' });
    expect(await answer({ command: 'run', item: '1' })).toMatchObject({ state: 'awaiting_merge' });
  });

  test('are worth another try where they would have said why', async () => {
    await repository.script({ mute: true });
    expect(await answer({ command: 'show', item: '9' })).toMatchObject({
      outcome: 'retryable',
      error: 'wreckit show 9 --json ended with code 1: it printed nothing',
    });
  });
});

describe('ideas', () => {
  test('by text go in through stdin, and what is there afterwards counts', async () => {
    const text = '--help\nA Desk\n$(id) && rm -rf /';
    expect(await answer({ command: 'ideas', text })).toMatchObject({
      state: 'created',
      created: ['002--help', '003-a-desk', expect.stringMatching(/^004-/)],
    });
    expect(await argvs()).toContain('ideas');
  });

  test('that were taken in before are known, as after a crash', async () => {
    expect(await answer({ command: 'ideas', text: 'Lamp' })).toEqual({
      ...{ command: 'ideas', state: 'known', changed: false },
      ...{ ids: ['001-lamp'], created: [], known: ['001-lamp'] },
    });
  });

  test('by file are read inside of the repository only', async () => {
    await writeFile(join(repository.directory, 'ideas.md'), 'a desk\n');
    expect(await answer({ command: 'ideas', file: 'ideas.md' })).toMatchObject({ created: ['002-a-desk'] });
    expect(await argvs()).toContain(`ideas --file=${repository.directory}/ideas.md`);
    await writeFile(join(home, 'secret.md'), 'secret\n');
    await symlink(join(home, 'secret.md'), join(repository.directory, 'link.md'));
    for (const file of ['../../secret.md', 'link.md', join(home, 'secret.md')])
      expect(await answer({ command: 'ideas', file })).toMatchObject({
        outcome: 'permanent',
        error_class: 'Confinement',
      });
  });

  test('of which nothing came fail for good, though wreckit exits 0', async () => {
    await repository.script({ ideas: 'none' });
    expect(await answer({ command: 'ideas', text: 'hm' })).toMatchObject({
      outcome: 'permanent',
      error_class: 'NoIdeas',
    });
  });
});

describe('doctor', () => {
  test('looks and mends nothing, until it is told to', async () => {
    expect(await answer({ command: 'doctor' })).toMatchObject({ state: 'healthy' });
    await repository.script({ errors: ['[001-lamp] item.json missing (fixable)'] });
    expect(await answer({ command: 'doctor' })).toMatchObject({
      state: 'unhealthy',
      changed: false,
      diagnosis: { errors: ['[001-lamp] item.json missing'], notes: [expect.stringContaining('prompts')] },
    });
    expect(await argvs()).toEqual(['doctor', 'doctor']);
    expect(await answer({ command: 'doctor', fix: true })).toMatchObject({ state: 'healthy', changed: true });
  });

  test('with fix fails for good when errors are left', async () => {
    await repository.script({ errors: ['circular dependency'] });
    expect(await answer({ command: 'doctor', fix: true })).toMatchObject({
      outcome: 'permanent',
      error_class: 'NotFixed',
    });
  });
});

describe('rollback', () => {
  test('takes a directly merged item back, once', async () => {
    await repository.item('001-lamp', { state: 'done', rollback_sha: 'abc' });
    expect(await answer({ command: 'rollback', item: '1' })).toMatchObject({
      state: 'implementing',
      changed: true,
    });
    expect(await answer({ command: 'rollback', item: '1' })).toMatchObject({
      outcome: 'permanent',
      error_class: 'NoAnchor',
    });
  });

  test('that an earlier try did before it crashed is done', async () => {
    await repository.item('001-lamp', { state: 'implementing', rollback_sha: null });
    expect(await answer({ command: 'rollback', item: '1' }, around({}, { attempt: 2 }))).toMatchObject({
      state: 'implementing',
      changed: false,
    });
  });
});

describe('what the policy does not grant', () => {
  test.each([{ ...policy, allowed_wreckit_subcommands: ['show'] }, {}])(
    'is refused before anything starts: %j',
    async (worker_policy) => {
      const given = { ...around(), policies: { worker_policy, agent_roles: {} } };
      expect(await answer({ command: 'run', item: '1' }, given)).toMatchObject({
        outcome: 'permanent',
        error_class: 'NotAllowed',
      });
      expect(await argvs()).toEqual([]);
    },
  );

  test('is a repository outside of the workspace, unless it is listed', async () => {
    const outside = await makeRepository(join(home, `outside-${number}`));
    await outside.item('001-lamp');
    const show = (given: Surroundings, where: string) =>
      answer({ command: 'show', item: '1', repository: where }, given);
    await symlink(outside.directory, join(home, 'work', `link-${number}`));
    for (const where of [outside.directory, `../outside-${number}`, `link-${number}`])
      expect(await show(around(), where)).toMatchObject({ error_class: 'Confinement' });
    for (const list of [[home], [`${outside.directory}/.wreckit`], ['..'], ['/']])
      expect(await show(around({ allowed_repositories: list }), outside.directory)).toMatchObject({
        error_class: 'Confinement',
      });
    expect(
      await show(around({ allowed_repositories: [outside.directory] }), outside.directory),
    ).toMatchObject({ state: 'idea' });
  });

  test('is a directory inside of a repository: wreckit would climb out of it', async () => {
    const inner = `${repository.directory}/inner`;
    await mkdir(inner);
    const refused = { outcome: 'permanent', error_class: 'NotARepository' };
    expect(await answer({ command: 'show', item: '1', repository: inner })).toMatchObject(refused);
    await mkdir(join(inner, '.wreckit'));
    expect(await answer({ command: 'show', item: '1', repository: inner })).toMatchObject(refused);
  });

  test('is items or a git directory that lie elsewhere', async () => {
    await rm(join(repository.directory, '.wreckit'), { recursive: true });
    await symlink(home, join(repository.directory, '.wreckit'));
    expect(await answer({ command: 'status' })).toMatchObject({ error_class: 'Confinement' });
    const tree = join(home, 'work', `tree-${number}`);
    await mkdir(join(tree, '.wreckit'), { recursive: true });
    await mkdir(join(home, `git-${number}`));
    await writeFile(join(tree, '.git'), `gitdir: ${home}/git-${number}\n`);
    expect(await answer({ command: 'status', repository: tree })).toMatchObject({
      error_class: 'Confinement',
    });
  });

  test('is an agent that skips its permission checks outside of a sandbox', async () => {
    await repository.config({ agent: { kind: 'process', command: 'amp', args: ['--quiet'] } });
    await repository.config({ agent: { args: ['--dangerously-allow-all'] } }, 'config.local.json');
    expect(await answer({ command: 'run', item: '1' })).toMatchObject({
      outcome: 'permanent',
      error_class: 'UnguardedAgent',
    });
    expect(await answer({ command: 'show', item: '1' })).toMatchObject({ state: 'idea' });
    expect(await answer({ command: 'run', item: '1' }, around({ sandboxed: true }))).toMatchObject({
      state: 'awaiting_merge',
    });
  });
});

describe('one wreckit per repository', () => {
  const lock = () => repository.sign('ops-loop-wreckit.lock');

  test('a second step comes again later; reading never waits', async () => {
    await repository.script({ holds: true });
    const first = startStep(
      wreckit,
      { command: 'run', item: '1', repository: repository.directory },
      around(),
    );
    await until(() => existsSync(repository.sign('started')), { what: 'the first run works' });
    expect(await answer({ command: 'research', item: '1' })).toMatchObject({
      outcome: 'rate_limited',
      error_class: 'RepositoryBusy',
      retry_after_seconds: 30,
    });
    expect(await answer({ command: 'show', item: '1' })).toMatchObject({ state: 'idea' });
    await writeFile(repository.sign('go-on'), '');
    expect(await first.outcome).toMatchObject({ kind: 'complete' });
    expect(existsSync(lock())).toBe(false);
    expect(repository.git('status', '--porcelain')).not.toContain('lock');
  });

  test('the lock is given back when the step is aborted, after wreckit is gone', async () => {
    await repository.script({ holds: true });
    const run = startStep(wreckit, { command: 'run', item: '1', repository: repository.directory }, around());
    await until(() => existsSync(repository.sign('started')), { what: 'the run works' });
    run.end('timed_out');
    expect(await run.outcome).toMatchObject({ kind: 'fail', failure: { outcome: 'timed_out' } });
    expect(existsSync(lock())).toBe(false);
    const { pid } = (await repository.calls()).at(-1) ?? { pid: 0 };
    expect(() => process.kill(pid, 0)).toThrow();
  });

  test('a lock from another machine holds as long as it is touched', async () => {
    await writeFile(lock(), '1 token 1 4026531836@elsewhere');
    expect(await answer({ command: 'run', item: '1' })).toMatchObject({ error_class: 'RepositoryBusy' });
    const longAgo = new Date(Date.now() - 61_000);
    await utimes(lock(), longAgo, longAgo);
    expect(await answer({ command: 'run', item: '1' })).toMatchObject({ state: 'awaiting_merge' });
  });
});

describe('ops-loop doctor', () => {
  const examine = (worker_policy: { [name: string]: Json }, program?: string) =>
    wreckit.doctor?.({
      secret: () => undefined,
      setting: () => program,
      workspace: home,
      config: { worker_policy, agent_roles: {} },
    });

  test('looks at nothing while nothing is granted', async () => {
    expect(await examine({})).toMatchObject([{ name: 'wreckit', ok: true }]);
  });

  test('finds wreckit, what it needs, and variables that are missing', async () => {
    const findings = await examine({ ...policy, wreckit_environment: ['GH_TOKEN'] });
    expect(findings).toMatchObject([
      { name: 'wreckit', ok: true, message: expect.stringContaining('0.0.1') },
      { name: 'wreckit:git', ok: true },
      { name: 'wreckit:gh' },
      { name: 'wreckit:environment', ok: false, message: expect.stringContaining('GH_TOKEN') },
    ]);
  });

  test.each([
    ['/nowhere/wreckit', 'there is no program'],
    [join(home, 'bin', 'silent'), 'does not run'],
  ])('says what is the matter with %s', async (program, message) => {
    const problem = { name: 'wreckit', ok: false, message: expect.stringContaining(message) };
    expect((await examine(policy, program))?.[0]).toMatchObject(problem);
  });
});

test('a worker without wreckit says so for good', async () => {
  const given = around({}, { secrets: { OPS_WRECKIT_BIN: '/nowhere/wreckit' } });
  const found = await answer({ command: 'show', item: '1' }, given);
  expect(found).toMatchObject({ outcome: 'permanent', error_class: 'NotFound' });
});
