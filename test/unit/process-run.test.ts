import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listedEnvironment } from '../../local/process/environment.js';
import { findProgram } from '../../local/process/program.js';
import { node, run, shell } from './process-kit.js';

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ops-loop-process-'));
});
afterAll(() => rm(directory, { recursive: true }));

const argv = async (args: string[]): Promise<unknown> =>
  JSON.parse(
    (await node('console.log(JSON.stringify(process.argv.slice(1)))', { args: ['--', ...args] })).stdout.text,
  );

describe('what a program is given', () => {
  test('arguments arrive as they are, whatever a shell would make of them', async () => {
    const hostile = [
      '--help',
      '-rf',
      '$(id)',
      '`id`',
      ';id',
      '| id',
      '> x',
      'a\nb',
      '"',
      "'",
      '\\',
      '*',
      '~',
      '',
      ' ',
    ];
    expect(await argv(hostile)).toEqual(hostile);
  });

  test('any text at all is one argument', async () => {
    const text = fc.string({ unit: 'grapheme' }).filter((value) => !value.includes('\0'));
    const texts = fc.sample(fc.array(text, { maxLength: 8 }), { numRuns: 4, seed: 1 });
    for (const args of texts) expect(await argv(args)).toEqual(args);
  });

  test('text on its input arrives whole, and without any the input is closed at once', async () => {
    const text = 'ünïcode\n'.repeat(200_000);
    const echo = await shell('wc -c', { stdin: text });
    expect(Number(echo.stdout.text)).toBe(Buffer.byteLength(text));
    expect((await run({ program: 'cat' })).stdout).toMatchObject({ text: '', bytes: 0 });
  });

  test('a program that does not read its input is no error', async () => {
    expect(await run({ program: 'true', stdin: 'x'.repeat(1_000_000) })).toMatchObject({
      ending: 'exited',
      code: 0,
    });
  });

  test('of our environment only what is listed, and what the caller adds', async () => {
    process.env.CANARY_TOKEN = 'canary-in-the-worker';
    process.env.LC_CANARY = 'listed';
    const { stdout } = await node('console.log(JSON.stringify(process.env))', {
      env: listedEnvironment({ ADDED: 'yes' }),
    });
    delete process.env.CANARY_TOKEN;
    delete process.env.LC_CANARY;
    const { PATH, HOME, LANG, TZ, TMPDIR, OPS_LOOP_RUN, ...rest } = JSON.parse(stdout.text);
    expect(rest).toEqual({ ADDED: 'yes', LC_CANARY: 'listed' });
    expect(OPS_LOOP_RUN).toMatch(/^[0-9a-f-]{36}\.\d+\.\d+\.\d*$/);
  });

  test('the directory it was told', async () => {
    expect((await run({ program: 'pwd', args: ['-P'], cwd: '/' })).stdout.text).toBe('/\n');
  });
});

describe('what comes back', () => {
  test('exit code and both outputs, apart', async () => {
    expect(await shell('echo out; echo err >&2; exit 3')).toEqual({
      ending: 'exited',
      code: 3,
      signal: null,
      stdout: { text: 'out\n', bytes: 4, truncated: false },
      stderr: { text: 'err\n', bytes: 4, truncated: false },
      durationMs: expect.any(Number),
    });
  });

  test('the signal that ended it', async () => {
    expect(await shell('kill -9 $$')).toMatchObject({ ending: 'exited', code: null, signal: 'SIGKILL' });
  });

  test('lines as they come, without colours, of both outputs', async () => {
    const lines: string[] = [];
    await shell("printf '\\033[31mred\\033[0m\\r50%%\\nlast'; echo err >&2", {
      onLine: (line) => lines.push(line),
    });
    expect(lines.sort()).toEqual(['50%', 'err', 'last', 'red']);
  });

  test('no more lines than a reader can follow, and a reader that throws ends nothing', async () => {
    let count = 0;
    const onLine = () => {
      count++;
      throw new Error('the reader is broken');
    };
    expect(await shell('yes | head -n 100000', { onLine })).toMatchObject({ ending: 'exited', code: 0 });
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThan(5_000);
  });
});

describe('what cannot be started', () => {
  const refused = (given: Parameters<typeof run>[0]) =>
    run(given).then(
      () => 'it ran',
      ({ outcome, errorClass, message }) => ({ outcome, errorClass, message }),
    );

  test('a program that is not there, is no program, or is named by a relative path', async () => {
    await writeFile(join(directory, 'text'), 'not a program');
    for (const program of [
      'no-such-program',
      '/no/such/program',
      join(directory, 'text'),
      directory,
      './true',
      '',
    ])
      expect(await refused({ program })).toMatchObject({ outcome: 'permanent', errorClass: 'NotFound' });
  });

  test('a program of the working directory, however PATH is written', async () => {
    await symlink('/bin/true', join(directory, 'planted'));
    for (const PATH of ['.', '', ':', '.:', './', relative(process.cwd(), directory)])
      expect(await refused({ program: 'planted', cwd: directory, env: { PATH } })).toMatchObject({
        errorClass: 'NotFound',
      });
    expect(await findProgram('planted', `relative:${directory}`)).toBe(join(directory, 'planted'));
  });

  test('in a directory that is not there', async () => {
    expect(await refused({ program: 'true', cwd: '/no/such/place' })).toMatchObject({
      outcome: 'permanent',
      errorClass: 'Confinement',
      message: expect.stringContaining('/no/such/place'),
    });
  });

  test('with arguments that the system does not take', async () => {
    // Linux, execve(2): one argument holds 131,071 bytes.
    expect(await refused({ program: 'true', args: ['x'.repeat(200_000)] })).toMatchObject({
      outcome: 'permanent',
      errorClass: 'ArgumentsTooLong',
    });
    expect(await refused({ program: 'true', args: ['a\0b'] })).toMatchObject({
      outcome: 'permanent',
      errorClass: 'NotStarted',
    });
  });
});
