import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { confine } from '../../local/process/confine.js';
import { isOwnVariable, listedEnvironment } from '../../local/process/environment.js';

let top = '';
let root = '';
beforeAll(async () => {
  top = await mkdtemp(join(tmpdir(), 'ops-loop-confine-'));
  root = join(top, 'root');
  await mkdir(join(root, 'inside', 'deep'), { recursive: true });
  await mkdir(join(top, 'root-beside'));
  await writeFile(join(top, 'outside'), 'canary');
  await writeFile(join(root, '..dots'), 'a file whose name begins with two dots');
  await symlink(join(top, 'outside'), join(root, 'link-out'));
  await symlink('..', join(root, 'link-up'));
  await symlink('link-out', join(root, 'inside', 'link-to-link'));
  await symlink('/proc/self/cwd', join(root, 'link-proc'));
  await symlink('deep', join(root, 'inside', 'link-in'));
  await symlink('loop', join(root, 'loop'));
});
afterAll(() => rm(top, { recursive: true }));

describe('confine', () => {
  test.each([
    ['.', ''],
    ['', ''],
    ['inside', 'inside'],
    ['inside/../inside/deep/', 'inside/deep'],
    ['inside/link-in', 'inside/deep'],
    ['..dots', '..dots'],
  ])('answers the real path of %j', async (path, expected) => {
    expect(await confine(root, path)).toBe(join(root, expected));
  });

  test('takes absolute paths, and a root that is a link itself', async () => {
    await symlink(root, join(top, 'link-root'));
    expect(await confine(join(top, 'link-root'), join(root, 'inside'))).toBe(join(root, 'inside'));
    expect(await confine(join(top, 'link-root'), join(top, 'link-root', 'inside'))).toBe(
      join(root, 'inside'),
    );
  });

  test.each([
    '..',
    '../root-beside',
    '/',
    '/etc/passwd',
    '../outside',
    'inside/../../outside',
    'link-out',
    'link-up',
    'link-up/outside',
    'inside/link-to-link',
    'link-proc',
    'loop',
    'missing',
    'missing/../..',
    '\u2024\u2024/outside',
    'a\0b',
    'outside/x',
  ])('refuses %j', async (path) => {
    await expect(confine(root, path)).rejects.toMatchObject({
      outcome: 'permanent',
      errorClass: 'Confinement',
    });
  });

  test('refuses all in a root that is not there', async () => {
    await expect(confine(join(top, 'no-root'), '.')).rejects.toMatchObject({ errorClass: 'Confinement' });
  });

  test('answers what it found, so that a link which is swapped afterwards is not followed', async () => {
    await symlink(join(root, 'inside'), join(root, 'swapped'));
    const path = await confine(root, 'swapped');
    await symlink(top, join(root, 'other'));
    await rename(join(root, 'other'), join(root, 'swapped'));
    expect(path).toBe(join(root, 'inside'));
  });
});

describe('the environment of a child', () => {
  test('is the list and what is added, which goes first', () => {
    const before = { ...process.env };
    Object.assign(process.env, {
      LC_TIME: 'C',
      LC_lower: 'no',
      OPS_API_KEY: 'canary',
      PATHS: 'canary',
      HOME_X: 'canary',
    });
    const env = listedEnvironment({ PATH: '/bin', ADDED: '1' });
    for (const name of ['LC_TIME', 'LC_lower', 'OPS_API_KEY', 'PATHS', 'HOME_X'])
      if (before[name] === undefined) delete process.env[name];
    expect(env).toMatchObject({ PATH: '/bin', ADDED: '1', LC_TIME: 'C' });
    expect(JSON.stringify(env)).not.toContain('canary');
    expect(
      Object.keys(env).filter((name) => !/^(PATH|HOME|LANG|LC_[A-Z]+|TZ|TMPDIR|ADDED)$/.test(name)),
    ).toEqual([]);
  });

  test.each([
    'DATABASE_URL',
    'OPS_API_KEY_PREVIOUS',
    'CRON_SECRET',
    'SUPABASE_SERVICE_ROLE_KEY',
    'STRIPE_WEBHOOK_SECRET',
    'PGPASSWORD',
  ])('%s belongs to the loop itself', (name) => {
    expect(isOwnVariable(name)).toBe(true);
    expect(isOwnVariable(`MY_${name}X`)).toBe(false);
  });
});
