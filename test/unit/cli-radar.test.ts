/** `ops-loop radar` as it is called: what it prints for scripts and for people, and how it refuses. */
import { Command, CommanderError } from 'commander';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Bind } from '../../local/cli/command.js';
import { addRadar } from '../../local/cli/commands/radar.js';
import type { Context } from '../../local/cli/context.js';
import { exitCodeOf } from '../../local/cli/exit-codes.js';
import { asOpsError, createOutput } from '../../local/cli/output.js';
import { usageProblem } from '../../local/cli/program.js';
import { type Database, openDatabase } from '../../supabase/client/pg.js';
import { runCli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';

const database = useDatabase();
const unknownId = '00000000-0000-4000-8000-000000000000';
let opened: Database;
beforeAll(() => {
  opened = openDatabase({ connectionString: database.url });
});
afterAll(() => opened.close());

/** One call in this process, over the real database: what it prints, and its exit code. */
async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const printed = { code: 0, stdout: '', stderr: '' };
  const sink = (name: 'stdout' | 'stderr') => ({
    write: (text: string) => {
      printed[name] += text;
    },
  });
  const [stdout, stderr] = [sink('stdout'), sink('stderr')];
  const out = createOutput({ json: args.includes('--json'), stdout, stderr, variables: {} });
  const context = { out, connect: async () => ({ port: opened.port }) } as unknown as Context;
  const bind: Bind =
    (handler) =>
    async (...given) => {
      await handler(context, ...given.slice(0, -1));
    };
  const program = new Command()
    .option('--json')
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  addRadar(program, bind);
  await program.parseAsync(['radar', ...args], { from: 'user' }).catch((thrown) => {
    const error = thrown instanceof CommanderError ? usageProblem(thrown.message) : asOpsError(thrown);
    out.fail(error);
    printed.code = exitCodeOf(error.code);
  });
  return printed;
}

/** Runs with `--json` and answers the exit code and the one document. */
async function json(...args: string[]): Promise<{ code: number; answer: Record<string, unknown> }> {
  const { code, stdout, stderr } = await run(...args, '--json');
  expect(stdout.trim().split('\n'), stderr).toHaveLength(1);
  return { code, answer: JSON.parse(stdout) };
}

test('radar is a command of the program, and its list is what it does when nothing is said', async () => {
  await opened.port.radarAdd({ signals: [{ title: 'from the shell', weight: 0 }] });
  const { code, stdout } = await runCli(['radar', '--json'], { env: { DATABASE_URL: database.url } });
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject([{ title: 'from the shell', stage: 'watching' }]);
});

describe('ops-loop radar', () => {
  test('adds, moves, weighs, merges, lists and shows', async () => {
    const link = 'https://example.org/1';
    const said = ['--evidence', '{"likes":3}', '--by', 'ada', '--link', link, '--tags', 'ui, core'];
    const { answer: added } = await json(
      'add',
      'Dark mode',
      '--source',
      'mail',
      '--mention-key',
      'm1',
      ...said,
    );
    expect(added).toMatchObject({ created: true, counted: true, mentions: 1, score: 1, stage: 'watching' });
    expect((await json('add', 'dark mode', '--mention-key', 'm1')).answer).toMatchObject({ counted: false });
    const id = String(added.id);
    expect((await json('weigh', id, '4')).answer).toEqual({ id, weight: 4, score: 4, changed: true });
    const move = ['move', id, 'validating', '--reason', 'ten asked', '--actor', 'ada'];
    expect((await json(...move)).answer).toMatchObject({
      changed: true,
      from: 'watching',
      stage: 'validating',
    });
    expect((await json(...move)).answer).toMatchObject({ changed: false });
    const { answer: other } = await json('add', 'A dark theme');
    expect((await json('merge', String(other.id), '--into', id)).answer).toMatchObject({
      changed: true,
      mentions: 2,
    });

    const listed = await run('list', '--stage', 'open', '--json');
    expect(JSON.parse(listed.stdout)[0]).toMatchObject({ id, title: 'Dark mode', mentions: 2 });
    const { stdout } = await run('top', '5');
    const [head = '', row = ''] = stdout.split('\n');
    expect(head).toMatch(/^id +score +mentions +sources +stage +last heard +title$/);
    expect(row).toMatch(new RegExp(`^${id} +[\\d.]+ +2 +2 +validating +just now +Dark mode$`));
    expect(head.indexOf('stage')).toBe(row.indexOf('validating'));
    const shown = (await run('show', id)).stdout;
    for (const part of [
      'ten asked',
      'by ada',
      'building, dropped',
      link,
      '{"likes":3}',
      'ui, core',
      'just now',
    ])
      expect(shown).toContain(part);
  });

  test('says where a longer list goes on, and goes on there', async () => {
    for (const title of ['one', 'two', 'three']) await json('add', title, '--tags', 'paged');
    const first = await run('list', '--tag', 'paged', '--limit', '2', '--sort', 'new');
    const cursor = /--cursor '([^']+)'/.exec(first.stderr)?.[1] ?? '';
    const rest = await run(
      'list',
      '--tag',
      'paged',
      '--limit',
      '2',
      '--sort',
      'new',
      '--cursor',
      cursor,
      '--json',
    );
    expect(JSON.parse(rest.stdout).map(({ title }: { title: string }) => title)).toEqual(['one']);
  });

  test('shows what strangers wrote, and a terminal does not obey it', async () => {
    const { answer } = await json('add', 'bad \u001b[2Jtitle \u202eevil', '--evidence', '"\\u001b]0;x"');
    const { stdout } = await run('show', String(answer.id));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/);
    expect(stdout).toContain('bad [2Jtitle evil');
  });

  test.each<[string, string[], number, string]>([
    [
      'a move that is not legal',
      ['move', '<id>', 'shipped'],
      3,
      'From watching it may go to validating or dropped.',
    ],
    [
      'a stage that is none',
      ['move', '<id>', 'done'],
      2,
      'Use one of watching, validating, building, shipped, dropped.',
    ],
    ['an id that is none', ['show', unknownId], 4, 'ops-loop radar list'],
    ['a short id', ['show', '1234'], 2, '--help'],
    ['a weight out of bounds', ['weigh', '<id>', '101'], 2, '--help'],
    ['a link that is none', ['add', 'x', '--link', 'javascript:1'], 2, 'Correct'],
    ['evidence that is no JSON', ['add', 'x', '--evidence', '{'], 2, 'single quotes'],
    ['a verb that is none', ['drop'], 2, 'radar list, top, show <id>'],
  ])('refuses %s and says what to do', async (_, args, code, hint) => {
    const { answer } = await json('add', 'refused');
    const given = args.map((arg) => (arg === '<id>' ? String(answer.id) : arg));
    const refused = await run(...given);
    expect(refused.code, refused.stderr).toBe(code);
    expect(refused.stderr).toContain(hint);
    expect(refused.stdout).toBe('');
  });
});
