import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { failed, unreadable } from '../../local/executors/wreckit/failure.js';
import {
  grantedVariables,
  grantsOf,
  requireGrant,
  unguardedFlags,
} from '../../local/executors/wreckit/grants.js';
import { isDone, isReached, stateOf } from '../../local/executors/wreckit/judgement.js';
import {
  type Item,
  readDiagnosis,
  readError,
  readItem,
  readItems,
  readSkipped,
  readTaken,
} from '../../local/executors/wreckit/output.js';
import {
  type CommandName,
  grantOf,
  phases,
  toArguments,
  WreckitParams,
} from '../../local/executors/wreckit/params.js';
import type { Finished } from '../../local/process/run.js';
import { seed } from '../support/seed.js';

const item = (fields: Partial<Item> = {}): Item => ({
  ...{ id: '001-lamp', title: 'A lamp', state: 'idea', branch: null, pr_url: null, pr_number: null },
  ...{
    last_error: null,
    rollback_sha: null,
    completed_at: null,
    research: false,
    plan: false,
    stories: null,
  },
  ...fields,
});
const inPr = item({ state: 'in_pr', pr_url: 'https://github.com/o/r/pull/1', pr_number: 1 });
const finished = (
  stdout: string,
  code: number | null = 1,
  signal: NodeJS.Signals | null = null,
): Finished => ({
  ...{ ending: 'exited', code, signal, durationMs: 1 },
  stdout: { text: stdout, bytes: stdout.length, truncated: false },
  stderr: { text: '', bytes: 0, truncated: false },
});
const repository = 'shop';

describe('the arguments', () => {
  test.each([
    [{ command: 'status', repository }, ['status', '--json']],
    [{ command: 'list', repository, state: 'in_pr' }, ['list', '--json', '--state=in_pr']],
    [{ command: 'show', repository, item: '1' }, ['show', '1', '--json']],
    [{ command: 'ideas', repository, text: 'a lamp' }, ['ideas']],
    [{ command: 'run', repository, item: '1' }, ['run', '1']],
    [{ command: 'run', repository, item: '1', force: true }, ['run', '1', '--force']],
    [{ command: 'next', repository }, ['next']],
    [{ command: 'critique', repository, item: '1' }, ['critique', '1']],
    [{ command: 'doctor', repository }, ['doctor']],
    [{ command: 'doctor', repository, fix: true }, ['doctor', '--fix']],
    [{ command: 'rollback', repository, item: '1', force: true }, ['rollback', '1', '--force']],
  ] as const)('of %j are %j', (params, args) => {
    expect(toArguments(WreckitParams.parse(params))).toEqual(args);
  });

  test('of ideas from a file name it in one word with its option', () => {
    const params = WreckitParams.parse({ command: 'ideas', repository, file: '-x' });
    expect(toArguments(params, '/srv/-x')).toEqual(['ideas', '--file=/srv/-x']);
  });

  test('take no option, no second word and no shell out of any text', () => {
    const nasty = fc.constantFrom(
      '--help',
      '-rf',
      '$(id)',
      ';id',
      'a\nb',
      'a\0b',
      'a b',
      '../1',
      '',
      '--cwd=/',
    );
    const anything = fc.oneof(nasty, fc.string(), fc.string({ unit: 'binary', maxLength: 300 }));
    fc.assert(
      fc.property(fc.constantFrom('show', 'run', 'rollback', ...phases), anything, (command, text) => {
        const parsed = WreckitParams.safeParse({ command, repository, item: text });
        if (!parsed.success) return;
        const [first, second, ...rest] = toArguments(parsed.data);
        expect([first, second]).toEqual([command, text]);
        expect(text).toMatch(/^[A-Za-z0-9][\w.-]*$/);
        expect(rest).toEqual(command === 'show' ? ['--json'] : []);
      }),
      { seed },
    );
    for (const text of ['--help', '-1', '', '../1', 'a/b', 'a b', '$(id)', 'a\n'])
      expect(WreckitParams.safeParse({ command: 'run', repository, item: text }).success).toBe(false);
  });
});

describe('a grant', () => {
  const granted = (list: unknown) =>
    grantsOf({ worker_policy: { allowed_wreckit_subcommands: list as never }, agent_roles: {} });
  const run = WreckitParams.parse({ command: 'run', repository, item: '1' });
  const forced = WreckitParams.parse({ command: 'run', repository, item: '1', force: true });

  test.each([
    undefined,
    [],
    null,
    'run',
    { run: true },
    [1],
    ['run', 1],
    ['running', 'ru', '*', 'RUN', 'run --force'],
  ])('is not given by %j', (list) => {
    expect(() => requireGrant(granted(list), run)).toThrow(/does not allow wreckit run/);
  });

  test('is given word by word: to run is not to force', () => {
    requireGrant(granted(['run']), run);
    expect(() => requireGrant(granted(['run']), forced)).toThrow(/does not allow wreckit run --force/);
    requireGrant(granted(['run --force']), forced);
    expect(grantOf(WreckitParams.parse({ command: 'doctor', repository, fix: true }))).toBe('doctor --fix');
  });

  test('never covers the variables of the loop itself', () => {
    const read = (name: string) => (name === 'UNSET' ? undefined : `value of ${name}`);
    const grants = (wreckit_environment: string[]) => ({ ...granted([]), wreckit_environment });
    expect(grantedVariables(grants(['GH_TOKEN', 'UNSET']), read)).toEqual({ GH_TOKEN: 'value of GH_TOKEN' });
    for (const name of [
      'DATABASE_URL',
      'SUPABASE_SERVICE_ROLE_KEY',
      'OPS_API_KEY',
      'CRON_SECRET',
      'PGPASSWORD',
    ])
      expect(() => grantedVariables(grants(['GH_TOKEN', name]), read)).toThrow(name);
  });

  test.each([
    [{ args: ['--dangerously-allow-all'] }, ['--dangerously-allow-all']],
    [{ args: ['-p', '--dangerously-skip-permissions'] }, ['--dangerously-skip-permissions']],
    [{ args: ['--permission-mode=bypassPermissions'] }, ['--permission-mode=bypassPermissions']],
    [{ args: ['--yolo'] }, ['--yolo']],
    [{ args: ['not-dangerously.js'] }, []],
    [{ args: 'text' }, []],
    [undefined, []],
  ])('has to say that it runs in a sandbox for the agent %j', (agent, flags) => {
    expect(unguardedFlags(agent)).toEqual(flags);
  });
});

describe('reading', () => {
  const shown = {
    id: '001-lamp',
    title: 'A lamp',
    state: 'in_pr',
    pr_url: 'u',
    pr_number: 1,
    artifacts: { research: true },
  };

  test('an item, with what a fork adds and what an older version leaves out', () => {
    expect(readItem(JSON.stringify({ ...shown, skip_phases: ['critique'], overview: '{"id":' }))).toEqual(
      item({ state: 'in_pr', pr_url: 'u', pr_number: 1, research: true }),
    );
  });

  test('an item among log lines, with its stories counted', () => {
    const prd = { user_stories: [{ status: 'done' }, { status: 'pending' }, { status: 'done' }] };
    const text = `WARN: {"a": 1} [x]\n${JSON.stringify({ ...shown, artifacts: { prd } })}\nbye {`;
    expect(readItem(text)).toMatchObject({ id: '001-lamp', stories: { done: 2, pending: 1 } });
  });

  test.each([
    '',
    'No items',
    '{"id":"001-',
    '[]',
    'null',
    '{"id":1,"state":"done"}',
    '{"state":"done"}',
    '{"id":"","state":"x"}',
  ])('no item out of %j', (text) => {
    expect(readItem(text)).toBeUndefined();
  });

  test('both forms of a list', () => {
    const items = [{ id: 1, fullId: '001-lamp', state: 'idea', title: 'A lamp' }];
    const read = [{ number: 1, id: '001-lamp', state: 'idea', title: 'A lamp' }];
    expect(readItems(JSON.stringify({ schema_version: 1, items, generated_at: '' }))).toEqual(read);
    expect(readItems(JSON.stringify(items, null, 2))).toEqual(read);
    expect(readItems('[]')).toEqual([]);
    for (const text of ['', '{}', '{"items":[{"id":"x"}]}', '[1]', '[{"id":1}'])
      expect(readItems(text)).toBeUndefined();
  });

  test('never throws, whatever is printed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        for (const read of [readItem, readItems, readError, readTaken, readSkipped, readDiagnosis])
          read(text);
      }),
      { seed },
    );
  });

  test('the error that came last, not the one an agent printed before', () => {
    expect(
      readError('[ITEM_NOT_FOUND] forged\nERROR: Phase pr failed\nERROR: [PUSH_ERROR] rejected\n'),
    ).toEqual({
      code: 'PUSH_ERROR',
      message: 'rejected',
    });
    expect(readError('[001-lamp] x\n[dry-run] y')).toBeUndefined();
  });

  test('the item that next took first, and the ideas that were known', () => {
    expect(readTaken('Running: 002-desk\nRunning: 001-forged\n')).toBe('002-desk');
    expect(
      readSkipped('Created 1 items:\n  003-x\nSkipped 2 existing items:\n  001-lamp\n  002-desk\n'),
    ).toEqual(['001-lamp', '002-desk']);
    expect(readSkipped('No items created\n')).toEqual([]);
  });

  test('a diagnosis, with findings of several lines', () => {
    const text = `Errors (2):\n  ✗ [001-lamp] prd.json is invalid: [\n  {\n    "code": 1\n  }\n] (fixable)\n  ✗ second (fixable)
Warnings (1):\n  ⚠ third\nInfo (1):\n  ℹ fourth\n\nRun with --fix to auto-fix recoverable issues\n`;
    expect(readDiagnosis(text)).toEqual({
      errors: ['[001-lamp] prd.json is invalid: [ { "code": 1 } ] (fixable)', 'second'],
      warnings: ['third'],
      notes: ['fourth'],
    });
    expect(readDiagnosis('✓ No issues found\n')).toEqual({ errors: [], warnings: [], notes: [] });
    expect(readDiagnosis('ERROR: [REPO_NOT_FOUND] none')).toBeUndefined();
  });
});

describe('a state', () => {
  test('with an open pull request is awaiting_merge, without one it is just in_pr', () => {
    expect(stateOf(inPr)).toBe('awaiting_merge');
    expect(stateOf({ ...inPr, pr_url: null })).toBe('in_pr');
  });

  test('is enough for a command when the item is as far as that command takes it, or further', () => {
    const enough = (command: CommandName) =>
      ['idea', 'researched', 'planned', 'implementing', 'critique', 'in_pr', 'done', 'raw'].filter((state) =>
        isReached(command, item({ state, stories: { done: 1, pending: 1 } })),
      );
    expect(enough('research')).toEqual([
      'researched',
      'planned',
      'implementing',
      'critique',
      'in_pr',
      'done',
    ]);
    expect(enough('plan')).toEqual(['planned', 'implementing', 'critique', 'in_pr', 'done']);
    expect(enough('implement')).toEqual(['critique', 'in_pr', 'done']);
    expect(enough('critique')).toEqual(['critique', 'in_pr', 'done']);
    // These have no pull request: that state proves nothing.
    for (const command of ['run', 'next', 'pr', 'complete'] as const)
      expect(enough(command)).toEqual(['done']);
    for (const command of ['run', 'next', 'pr'] as const) expect(isReached(command, inPr)).toBe(true);
  });

  test('of implementing is enough for implement once all stories are done', () => {
    expect(isReached('implement', item({ state: 'implementing', stories: { done: 2, pending: 0 } }))).toBe(
      true,
    );
    expect(isReached('implement', item({ state: 'implementing', stories: null }))).toBe(false);
  });

  test('counts whatever the exit code is, but for a phase that was forced', () => {
    const seen = { before: inPr, after: inPr, code: 1, message: 'PR not merged yet' };
    expect(isDone('run', false, seen)).toBe(true);
    expect(isDone('run', true, seen)).toBe(true);
    const planned = item({ state: 'planned' });
    expect(isDone('research', false, { ...seen, before: planned, after: planned })).toBe(true);
    expect(isDone('research', true, { ...seen, before: planned, after: planned })).toBe(false);
    expect(isDone('research', true, { ...seen, before: planned, after: planned, code: 0 })).toBe(true);
    expect(isDone('run', false, { ...seen, after: planned, code: 0, message: undefined })).toBe(false);
  });

  test('of an open pull request is what complete waits for, unless it could not even ask', () => {
    const seen = { before: inPr, after: inPr, code: 1 };
    expect(isDone('complete', false, { ...seen, message: 'PR not merged yet' })).toBe(true);
    expect(
      isDone('complete', false, { ...seen, message: 'Failed to query PR status: gh command failed' }),
    ).toBe(false);
    expect(isDone('complete', false, { ...seen, message: undefined })).toBe(true);
  });

  test('after a rollback is implementing, and the anchor is gone', () => {
    const done = item({ state: 'done', rollback_sha: 'abc' });
    const back = item({ state: 'implementing' });
    const seen = { before: done, after: back, code: 0, message: undefined };
    expect(isDone('rollback', false, seen)).toBe(true);
    expect(isDone('rollback', false, { ...seen, after: done })).toBe(false);
    expect(isDone('rollback', false, { ...seen, before: back })).toBe(false);
  });
});

describe('a failure', () => {
  test.each(['ITEM_NOT_FOUND', 'AMBIGUOUS_ID', 'REPO_NOT_FOUND', 'INVALID_TRANSITION', 'MERGE_CONFLICT'])(
    'with %s is for good',
    (code) => {
      expect(failed('run 1', finished(`ERROR: [${code}] text`))).toMatchObject({
        outcome: 'permanent',
        errorClass: code,
      });
    },
  );

  test.each(['PHASE_FAILED', 'TIMEOUT', 'AGENT_ERROR', 'PUSH_ERROR', 'PR_CREATION_ERROR', 'SOMETHING_NEW'])(
    'with %s is worth another try',
    (code) => {
      expect(failed('run 1', finished(`ERROR: [${code}] text`))).toMatchObject({
        outcome: 'retryable',
        errorClass: code,
      });
    },
  );

  test('says how wreckit ended, where the item is, and why', () => {
    const planned = item({ state: 'planned', last_error: 'Agent timed out' });
    expect(failed('run 001-lamp', finished('', 0), planned).message).toBe(
      'wreckit run 001-lamp ended with code 0 and left 001-lamp in planned: Agent timed out',
    );
    expect(failed('next', finished('  \nlast words\n', null, 'SIGSEGV')).message).toBe(
      'wreckit next ended with signal SIGSEGV: last words',
    );
  });

  test('that an agent printed does not count when wreckit ended well', () => {
    expect(failed('run 1', finished('ERROR: [ITEM_NOT_FOUND] forged', 0))).toMatchObject({
      outcome: 'retryable',
    });
  });

  test('in a state that nobody knows is for good, as is a critique that was turned down', () => {
    expect(failed('run 1', finished('', 0), item({ state: 'raw' }))).toMatchObject({
      errorClass: 'UnknownState',
      outcome: 'permanent',
    });
    expect(failed('critique 1', finished('', 0), item({ state: 'planned' }))).toMatchObject({
      errorClass: 'CritiqueRejected',
      outcome: 'permanent',
    });
  });

  test('to answer JSON is worth another try', () => {
    expect(unreadable('show 1 --json', finished('{"id": "001-', 0))).toMatchObject({
      errorClass: 'UnreadableAnswer',
      outcome: 'retryable',
      message: 'wreckit show 1 --json answered no JSON that can be read: {"id": "001-',
    });
  });
});
