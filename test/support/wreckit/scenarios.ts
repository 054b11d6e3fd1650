/** What the executor has to bear from the real wreckit: each surprise in a repository of its own. */
import { deepEqual, equal, match } from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StepError } from '../../../local/executors/contract.js';
import { WreckitParams } from '../../../local/executors/wreckit/params.js';
import { runWreckit } from '../../../local/executors/wreckit/run.js';
import { processesNaming } from '../processes.js';
import { until } from '../until.js';
import { makeRepository, standIns, type TestRepository } from './repository.js';

export type Scenario = { name: string; run(directory: string): Promise<void> };

const signalOfNobody = new AbortController().signal;
const grants = [
  ...[
    'status',
    'list',
    'show',
    'ideas',
    'run',
    'next',
    'research',
    'plan',
    'implement',
    'critique',
    'pr',
    'complete',
  ],
  ...['critique --force', 'research --force', 'doctor', 'doctor --fix', 'rollback'],
];

/** The result; of a failure what the worker would make of it. */
async function step({ directory }: TestRepository, params: object, signal = signalOfNobody): Promise<object> {
  const ctx = {
    ...{ signal, attempt: 1, idempotencyKey: 'step', workspace: dirname(directory) },
    config: { worker_policy: { allowed_wreckit_subcommands: grants }, agent_roles: {} },
    ...{ secret: () => undefined, setting: () => undefined, progress: () => {} },
  };
  try {
    return await runWreckit(ctx, WreckitParams.parse({ repository: directory, ...params }));
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    return { outcome: error.outcome, errorClass: error.errorClass, message: error.message };
  }
}

/** wreckit exits before a pipe has taken its last words, so these are lost at times; here they are asked for again. */
async function saidOf(repository: TestRepository, params: object): Promise<object> {
  const found = await step(repository, params);
  const isMute = 'errorClass' in found && found.errorClass === 'Unfinished';
  return isMute ? saidOf(repository, params) : found;
}

/** One item, an agent in this mode, and a remote to push to. */
async function shop(
  directory: string,
  {
    mode = 'work',
    ignored = '.wreckit/',
    ...more
  }: { mode?: string; ignored?: string; [option: string]: unknown } = {},
): Promise<TestRepository> {
  const repository = await makeRepository(directory);
  await agent(repository, mode, more);
  await repository.item('001-lamp');
  await writeFile(join(directory, 'README.md'), 'A shop.\n');
  // As `wreckit init` leaves it to the owner to decide: kept out of git, so that no branch takes items along.
  await writeFile(join(directory, '.gitignore'), `${ignored}\n`);
  repository.git('config', 'user.email', 'tests@localhost');
  repository.git('config', 'user.name', 'tests');
  repository.git('add', '.');
  repository.git('commit', '--quiet', '--message', 'a shop');
  execFileSync('git', ['clone', '--quiet', '--bare', directory, `${directory}.git`]);
  repository.git('remote', 'add', 'origin', `${directory}.git`);
  repository.git('push', '--quiet', '--set-upstream', 'origin', 'main');
  return repository;
}

const agent = (repository: TestRepository, mode: string, more: object = {}) =>
  repository.config({
    schema_version: 1,
    agent: {
      ...{ kind: 'process', command: process.execPath, args: [standIns.agent, mode, repository.directory] },
      completion_signal: '<promise>COMPLETE</promise>',
    },
    ...more,
  });

const run = { command: 'run', item: '1' };
const merge = ({ directory }: TestRepository) => execFileSync('gh', ['pr', 'merge', '1'], { cwd: directory });
/** At least these members, with these values. */
function has(found: object, expected: object): void {
  deepEqual(
    likewise(found, expected),
    expected,
    `${JSON.stringify(found)} should have ${JSON.stringify(expected)}`,
  );
}

function likewise(found: unknown, expected: unknown): unknown {
  if (Array.isArray(found) || typeof found !== 'object' || typeof expected !== 'object') return found;
  if (found === null || expected === null) return found;
  const wanted = Object.entries(expected);
  const own = new Map(Object.entries(found));
  return Object.fromEntries(wanted.map(([name, value]) => [name, likewise(own.get(name), value)]));
}

export const scenarios: Scenario[] = [
  {
    name: 'status, list and show answer JSON',
    run: async (directory) => {
      const repository = await shop(directory);
      const items = [{ number: 1, id: '001-lamp', state: 'idea', title: 'A lamp' }];
      has(await step(repository, { command: 'status' }), { items });
      has(await step(repository, { command: 'list', state: 'idea' }), { items });
      deepEqual(await step(repository, { command: 'list', state: 'done' }), {
        command: 'list',
        state: 'listed',
        changed: false,
        items: [],
      });
      has(await step(repository, { command: 'show', item: 'lamp' }), {
        state: 'idea',
        item: { id: '001-lamp' },
      });
    },
  },
  {
    name: 'run ends awaiting_merge, and done once it is merged',
    run: async (directory) => {
      const repository = await shop(directory);
      has(await step(repository, run), {
        state: 'awaiting_merge',
        changed: true,
        item: { pr_number: 1, stories: { done: 1, pending: 0 } },
      });
      has(await step(repository, run), { state: 'awaiting_merge', changed: false });
      has(await step(repository, { command: 'complete', item: '1' }), { state: 'awaiting_merge' });
      merge(repository);
      has(await step(repository, run), { state: 'done', changed: true });
      has(await step(repository, run), { state: 'done', changed: false });
    },
  },
  {
    name: 'items that git tracks go the same way',
    run: async (directory) => {
      const repository = await shop(directory, { ignored: 'node_modules' });
      has(await step(repository, run), { state: 'awaiting_merge', changed: true });
      has(await step(repository, run), { state: 'awaiting_merge', changed: false });
    },
  },
  {
    name: 'phases one by one',
    run: async (directory) => {
      const repository = await shop(directory);
      const reached: unknown[] = [];
      for (const command of ['research', 'plan', 'implement', 'critique', 'pr', 'complete'])
        reached.push(await step(repository, { command, item: '001-lamp' }));
      const states = reached.map((one) => (one as { state?: string }).state ?? one);
      deepEqual(states, [
        'researched',
        'planned',
        'critique',
        'critique',
        'awaiting_merge',
        'awaiting_merge',
      ]);
      merge(repository);
      has(await step(repository, { command: 'complete', item: '1' }), { state: 'done' });
    },
  },
  {
    name: 'phases out of order, unknown and ambiguous items fail for good',
    run: async (directory) => {
      const repository = await shop(directory);
      await repository.item('002-lamp');
      has(await saidOf(repository, { command: 'pr', item: '1' }), {
        outcome: 'permanent',
        errorClass: 'INVALID_STATE',
      });
      has(await saidOf(repository, { ...run, item: '9' }), {
        outcome: 'permanent',
        errorClass: 'ITEM_NOT_FOUND',
      });
      has(await saidOf(repository, { ...run, item: 'lamp' }), {
        outcome: 'permanent',
        errorClass: 'AMBIGUOUS_ID',
      });
    },
  },
  {
    name: 'an agent that fails, or never says it is ready, is worth another try',
    run: async (directory) => {
      const repository = await shop(directory, { mode: 'fail' });
      const failure = { outcome: 'retryable' };
      has(await step(repository, run), {
        ...failure,
        message:
          'wreckit run 001-lamp ended with code 1 and left 001-lamp in idea: Agent failed with exit code 3',
      });
      await agent(repository, 'mute');
      has(await step(repository, run), failure);
      has(await step(repository, { command: 'next' }), { outcome: 'retryable' });
      await agent(repository, 'work');
      has(await step(repository, run), { state: 'awaiting_merge' });
    },
  },
  {
    name: 'a critic who turns the work down is believed, whatever the exit code',
    run: async (directory) => {
      const repository = await shop(directory);
      for (const command of ['research', 'plan', 'implement']) await step(repository, { command, item: '1' });
      await agent(repository, 'reject');
      const rejected = { outcome: 'permanent', errorClass: 'CritiqueRejected' };
      has(await step(repository, { command: 'critique', item: '1', force: true }), rejected);
      equal((await repository.readItem('001-lamp')).state, 'planned');
    },
  },
  {
    name: 'next takes the first open item, is blocked by others, and has nothing to do',
    run: async (directory) => {
      const repository = await shop(directory);
      has(await step(repository, { command: 'next' }), {
        state: 'awaiting_merge',
        changed: true,
        item: { id: '001-lamp' },
      });
      has(await step(repository, { command: 'next' }), { state: 'awaiting_merge', changed: false });
      merge(repository);
      has(await step(repository, { command: 'next' }), { state: 'done', changed: true });
      has(await step(repository, { command: 'next' }), { state: 'nothing_to_do' });
      await repository.item('002-desk', { depends_on: ['009-none'] });
      has(await step(repository, { command: 'next' }), { state: 'blocked' });
    },
  },
  {
    name: 'ideas need an agent that calls tools, and fail without one',
    run: async (directory) => {
      const repository = await shop(directory);
      has(await saidOf(repository, { command: 'ideas', text: 'A desk' }), {
        outcome: 'retryable',
        errorClass: 'MCP_TOOL_NOT_CALLED',
      });
    },
  },
  {
    name: 'doctor looks, and mends only when told to',
    run: async (directory) => {
      const repository = await shop(directory);
      has(await step(repository, { command: 'doctor' }), { command: 'doctor', changed: false });
      await writeFile(join(directory, '.wreckit', 'index.json'), 'broken');
      const ill = await step(repository, { command: 'doctor' });
      match(JSON.stringify(ill), /index\.json/);
      equal(await readFile(join(directory, '.wreckit', 'index.json'), 'utf8'), 'broken');
      has(await step(repository, { command: 'doctor', fix: true }), { state: 'healthy', changed: true });
    },
  },
  {
    name: 'direct mode ends done, and can be rolled back once',
    run: async (directory) => {
      const direct = { merge_mode: 'direct', pr_checks: { allow_unsafe_direct_merge: true } };
      const repository = await shop(directory, direct);
      has(await step(repository, run), { state: 'done', changed: true, item: { pr_url: null } });
      match(repository.git('ls-remote', 'origin'), /refs\/heads\/main/);
      has(await step(repository, { command: 'rollback', item: '1' }), {
        state: 'implementing',
        changed: true,
      });
      has(await step(repository, { command: 'rollback', item: '1' }), {
        outcome: 'permanent',
        errorClass: 'NoAnchor',
      });
    },
  },
  {
    name: 'an abort ends wreckit and its agent, and gives the repository back',
    run: async (directory) => {
      const repository = await shop(directory, { mode: 'hang' });
      const abort = new AbortController();
      const running = step(repository, run, abort.signal).catch((error: unknown) => error);
      const agents = () => processesNaming(`${standIns.agent}\0hang\0${directory}`);
      await until(async () => (await agents()).length > 0, { what: 'the agent hangs' });
      has(await step(repository, run), { outcome: 'rate_limited', errorClass: 'RepositoryBusy' });
      abort.abort(new Error('enough'));
      match(String(await running), /enough/);
      deepEqual(await agents(), []);
      equal(existsSync(repository.sign('ops-loop-wreckit.lock')), false);
    },
  },
];
