/** Files that commands are told of: found from where the caller is, also under npm, and refused at once where none can be. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { projectRoot } from '../../local/env.js';
import { callCli, cleanEnvironment } from '../support/cli.js';
import { useDatabase } from '../support/database.js';

const db = useDatabase();
const home = mkdtempSync(join(tmpdir(), 'ops-loop-files-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));
const run = (...args: string[]) => callCli(args, { DATABASE_URL: db.url, OPS_LOG_LEVEL: 'fatal' });
const file = (name: string, value: unknown): void => writeFileSync(join(home, name), JSON.stringify(value));

describe('under npm, which runs scripts in the root and says where it was called', () => {
  beforeEach(() => void vi.stubEnv('INIT_CWD', home));
  afterEach(() => void vi.unstubAllEnvs());

  const template = { title: 'from a file', steps: [{ kind: 'noop' }] };
  const fixture = [{ name: 'nothing fires', event: { type: 'no:body' }, expect: {} }];
  const own = `import { z } from '${projectRoot}/node_modules/zod/index.js';
    export default { name: 'own', params: z.object({}), traits: { idempotent: true, risk: 'low' }, run: async () => ({}) };`;
  test.each([
    'emit files:seen --data @data.json',
    'propose template.json',
    'propose --kind noop --params @data.json',
    'policy validate loop_limits @loop_limits.json',
    'policy set loop_limits @loop_limits.json',
    'policy diff loop_limits loop_limits.json',
    'policy simulate drafts.json --events @events.json',
    'policy test fixtures.json',
    'policy test policies',
    'policy apply policies --dry-run',
    'policy apply loop_limits.json',
    'policy export a/new/place',
    'backup loop.gz',
    'executor test ./own.mjs',
  ])('%s finds its files there', async (line) => {
    file('data.json', { echo: 'x' });
    file('template.json', template);
    mkdirSync(join(home, 'policies'), { recursive: true });
    for (const place of ['', 'policies/']) {
      file(`${place}loop_limits.json`, { max_depth: 7 });
      file(`${place}fixtures.json`, fixture);
    }
    file('drafts.json', { loop_limits: { max_depth: 6 } });
    file('events.json', [{ type: 'no:body' }]);
    writeFileSync(join(home, 'own.mjs'), own);
    const { code, stderr, stdout } = await run(...line.split(' '));
    expect({ code, said: code === 0 ? '' : stderr + stdout }).toEqual({ code: 0, said: '' });
  });

  test('what is written stands there', () => {
    expect(readdirSync(join(home, 'a/new/place'))).toContain('reaction_matrix.json');
    expect(readdirSync(home)).toContain('loop.gz');
  });

  test('and a restore reads it there', async () => {
    expect(await run('restore', 'loop.gz')).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('not empty'),
    });
  });
});

test('npm run in a folder of the project, as it is typed', async () => {
  const npm = promisify(execFile)('npm', ['run', '--silent', 'policy', '--', 'test', 'fixtures.json'], {
    cwd: join(projectRoot, 'docs/cookbook/failed-ci'),
    env: cleanEnvironment({ DATABASE_URL: db.url }),
  });
  // Held against live policies: that they differ is said of a file that was found.
  const { stdout } = await npm.catch((failed: { stdout: string }) => failed);
  expect(stdout).toMatch(/differ/);
});

describe('a place that cannot be written fails at once, with a way out', () => {
  test.each([
    ['/proc/nowhere', 'nothing can be made there'],
    ['/proc/nowhere/at/all', 'nothing can be made there'],
    [join(home, 'a-file'), 'what has that name is no directory'],
    [join(home, 'a-file', 'below'), 'what has that name is no directory'],
    [join(home, 'taken'), 'it is a directory'],
  ])(
    'policy export %s: %s',
    async (place, why) => {
      writeFileSync(join(home, 'a-file'), '');
      mkdirSync(join(home, 'taken', 'reaction_matrix.json'), { recursive: true });
      expect(await run('policy', 'export', place)).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(
          new RegExp(`OPS_011 {2}cannot write ${place}.*: ${why}\n→ Name a place`),
        ),
      });
    },
    10_000,
  );

  test.each([
    'backup /proc/nowhere/loop.gz',
    `backup ${home}/no/such/place.gz`,
    'benchmark --quick --out /proc/nowhere/report.json',
    `benchmark --quick --out ${home}`,
  ])(
    '%s',
    async (line) => {
      const { code, stderr } = await run(...line.split(' '));
      expect([code, stderr]).toEqual([2, expect.stringMatching(/OPS_011 {2}cannot write .*\n→ Name/)]);
    },
    10_000,
  );
});

test('JSON with a character that the database cannot store is refused in our words', async () => {
  for (const data of ['{"a":"\\u0000"}', '{"\\uD800":1}']) {
    const { code, stderr } = await run('emit', 'files:seen', '--data', data);
    expect([code, stderr]).toEqual([2, expect.stringContaining('cannot store: U+0000, or half of a')]);
  }
  const { code, stderr } = await run('emit', 'files:seen', '--data', '{"a":"\\\\u0000 \\ud83d\\ude00"}');
  expect({ code, stderr }).toMatchObject({ code: 0 });
});

test('a time that the database cannot tell is refused before it is asked', async () => {
  for (const since of ['0000-01-01T00:00:00Z', '+010000-01-01T00:00:00Z'])
    expect(await run('replay', '--since', since)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('a time such as'),
    });
});
