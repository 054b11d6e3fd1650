import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Grant } from '../../local/executors/minion/grants.js';
import { isInterpreter } from '../../local/executors/minion/interpreters.js';
import { toArguments } from '../../local/executors/minion/values.js';
import { Command } from '../../supabase/client/schemas/policies.js';
import { seed } from '../support/seed.js';

let top = '';
let root = '';
beforeAll(async () => {
  top = await realpath(await mkdtemp(join(tmpdir(), 'ops-loop-minion-')));
  root = join(top, 'work');
  await mkdir(join(root, 'reports'), { recursive: true });
  await writeFile(join(root, 'reports', 'a.txt'), 'a');
  await writeFile(join(top, 'outside.txt'), 'canary');
  await symlink(join(top, 'outside.txt'), join(root, 'out'));
  await symlink(join(top, 'not-yet'), join(root, 'dangling'));
  await symlink(top, join(root, 'up'));
});
afterAll(() => rm(top, { recursive: true }));

type Items = NonNullable<Command['arguments']>;
const grant = (items: Items): Grant => ({
  ...Command.parse({ arguments: items }),
  name: 'tool',
  program: 'tool',
});
const make = (items: Items, given: (string | number)[], cwd = root) =>
  toArguments(grant(items), given, { root, cwd });
const refused = (items: Items, given: (string | number)[]) =>
  make(items, given).then(
    (made) => ({ made }),
    ({ outcome, errorClass }) => ({ outcome, errorClass }),
  );
const invalid = { outcome: 'permanent', errorClass: 'InvalidArguments' };
const outside = { outcome: 'permanent', errorClass: 'Confinement' };

describe('arguments of a command', () => {
  test('are texts of the policy, with the values of the step between them', async () => {
    const items: Items = [
      'log',
      '--oneline',
      { value: 'integer', min: 1, max: 50, prefix: '--max-count=' },
      { value: 'word', words: ['main', 'next'] },
      '--',
      { value: 'path', repeat: 2, optional: true },
    ];
    expect(await make(items, [5, 'main', 'reports', 'reports/a.txt'])).toEqual([
      'log',
      '--oneline',
      '--max-count=5',
      'main',
      '--',
      join(root, 'reports'),
      join(root, 'reports/a.txt'),
    ]);
    expect(await make(items, ['5', 'next'])).toEqual(['log', '--oneline', '--max-count=5', 'next', '--']);
  });

  test('are none where the policy names none', async () => {
    expect(await make([], [])).toEqual([]);
    expect(await refused([], ['x'])).toEqual(invalid);
  });

  test.each<[string, Items, (string | number)[]]>([
    ['too few values', [{ value: 'text' }, { value: 'text' }], ['a']],
    ['too many', [{ value: 'text' }], ['a', 'b']],
    ['a word that is not listed', [{ value: 'word', words: ['a'] }], ['b']],
    ['a word where none is listed', [{ value: 'word' }], ['']],
    ['an integer out of range', [{ value: 'integer', min: 1, max: 9 }], [10]],
    ['a number that is no integer', [{ value: 'integer' }], [1.5]],
    ['an integer in other notations', [{ value: 'integer', max: 99 }], ['0x10']],
    ['an integer with a sign', [{ value: 'integer' }], ['+1']],
    ['an integer with a line behind it', [{ value: 'integer' }], ['1\n']],
    ['a value unlike the pattern', [{ value: 'pattern', pattern: '[a-z]+' }], ['ab\n']],
    ['a pattern that is missing', [{ value: 'pattern' }], ['a']],
    ['a pattern that is not valid', [{ value: 'pattern', pattern: '(a' }], ['a']],
    ['a value longer than a pattern is tried on', [{ value: 'pattern', pattern: 'a*' }], ['a'.repeat(1_001)]],
    ['a text that is too long', [{ value: 'text', max_length: 3 }], ['abcd']],
    ['a text with a NUL', [{ value: 'text' }], ['a\0b']],
    ['more bytes than an argument holds', [{ value: 'text', max_length: 100_000 }], ['€'.repeat(60_000)]],
  ])('refuses %s', async (_, items, given) => {
    expect(await refused(items, given)).toEqual(invalid);
  });
});

describe('a value never becomes an option', () => {
  const kinds: Items = [
    { value: 'text', max_length: 100_000 },
    { value: 'pattern', pattern: '[^]*|(.|\\n)*', max_length: 100_000 },
  ];

  test.each(['-', '--', '-rf', '--help', '--upload-pack=id', '-\u0000', '-\n'])(
    '%j is refused',
    async (value) => {
      for (const kind of kinds) expect(await refused([kind], [value])).toEqual(invalid);
      expect(await refused([{ value: 'integer', min: -9 }], [-5])).toEqual(invalid);
    },
  );

  test('but may stand behind a prefix in the same argument, and behind the end of options', async () => {
    expect(await make([{ value: 'text', prefix: '--title=' }], ['--help'])).toEqual(['--title=--help']);
    expect(await make([{ value: 'integer', min: -9, prefix: '--by=' }], [-5])).toEqual(['--by=-5']);
    expect(await make(['--', { value: 'text' }], ['-rf'])).toEqual(['--', '-rf']);
    expect(await refused([{ value: 'text', prefix: '--a=' }, { value: 'text' }], ['--', '-rf'])).toEqual(
      invalid,
    );
  });

  test('nor may the policy say so by mistake', () => {
    const refuses = (item: object) => expect(Command.safeParse({ arguments: [item] }).success).toBe(false);
    refuses({ value: 'word', words: ['--force'] });
    refuses({ value: 'text', prefix: '-' });
    refuses({ value: 'text', prefix: '--' });
    refuses({ value: 'text', prefix: '-v' });
  });

  test('whatever it is: the number of arguments and the place of each option are those of the policy', async () => {
    const items: Items = [
      '-a',
      { value: 'text' },
      '--b',
      { value: 'text', prefix: '--c=' },
      { value: 'text' },
    ];
    const text = fc.string({ unit: 'binary', maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(text, text, text, async (...given) => {
        const made = await make(items, given).catch(() => undefined);
        const begins = made?.map((argument) => argument.startsWith('-'));
        if (begins !== undefined) expect(begins).toEqual([true, false, true, true, false]);
        else expect(given.some((value) => value.startsWith('-') || value.includes('\0'))).toBe(true);
      }),
      { numRuns: 100, seed },
    );
  });
});

describe('paths', () => {
  const path: Items = [{ value: 'path' }];
  const made: Items = [{ value: 'new_path' }];

  test('are real paths inside of the workspace, relative ones from where the program runs', async () => {
    expect(await make(path, ['a.txt'], join(root, 'reports'))).toEqual([join(root, 'reports/a.txt')]);
    expect(await make(path, ['..'], join(root, 'reports'))).toEqual([root]);
    expect(await make(path, [join(root, 'reports')])).toEqual([join(root, 'reports')]);
    expect(await make(made, ['reports/new.txt'])).toEqual([join(root, 'reports/new.txt')]);
    expect(await make(made, ['reports/a.txt'])).toEqual([join(root, 'reports/a.txt')]);
  });

  test.each([
    '..',
    '/',
    '/etc/passwd',
    '../outside.txt',
    'out',
    'up/outside.txt',
    'dangling',
    'missing',
    'reports/../..',
  ])('%j is refused', async (value) => {
    expect(await refused(path, [value])).toEqual(outside);
  });

  test.each(['..', '/etc/new', '../new', 'out', 'dangling', 'up/new', 'missing/new', ''])(
    'and %j as a new one',
    async (value) => {
      expect(await refused(made, [value])).toEqual(outside);
    },
  );

  test('a path that begins with a dash is a whole path', async () => {
    await writeFile(join(root, '-rf'), '');
    expect(await make(path, ['-rf'])).toEqual([join(root, '-rf')]);
  });

  test('sockets and devices are refused', async () => {
    const server = createServer().listen(join(root, 'socket'));
    await new Promise((resolve) => server.once('listening', resolve));
    expect(await refused(path, ['socket'])).toEqual(invalid);
    server.close();
  });
});

describe('programs that run what they are given', () => {
  test.each([
    ['sh', '/usr/bin/dash'],
    ['bash', '/bin/bash'],
    ['python3', '/usr/bin/python3.11'],
    ['lua5.4', '/usr/bin/lua5.4'],
    ['awk', '/usr/bin/mawk'],
    ['/opt/innocent', '/bin/bash'],
    ['env', '/usr/bin/env'],
    ['busybox', '/bin/busybox'],
    ['sh', '/bin/busybox'],
    ['node', '/usr/local/bin/node'],
    ['NODE.EXE', '/x/NODE.EXE'],
  ])('%s (%s)', (asked, real) => {
    expect(isInterpreter(asked, real)).toBe(true);
  });

  test.each([
    ['git', '/usr/bin/git'],
    ['ls', '/bin/busybox'],
    ['wreckit', '/usr/lib/node_modules/wreckit/dist/index.js'],
    ['sha256sum', '/usr/bin/sha256sum'],
    ['pg_dump', '/usr/lib/postgresql/17/bin/pg_dump'],
  ])('not %s (%s)', (asked, real) => {
    expect(isInterpreter(asked, real)).toBe(false);
  });
});
