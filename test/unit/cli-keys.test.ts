import { describe, expect, test } from 'vitest';
import { startServer } from '../../local/server.js';
import { hashOf } from '../../supabase/client/keys.js';
import { callCli, runCli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';
import { testApp } from './http-app.js';

const database = useDatabase();
const env = (): Record<string, string> => ({ DATABASE_URL: database.url, OPS_LOG_LEVEL: 'fatal' });
const run = (...args: string[]) => callCli(['keys', ...args], env());
const json = async (...args: string[]) => {
  const { code, stdout, stderr } = await run(...args, '--json');
  return { code, answer: JSON.parse(stdout), stderr };
};
const states = () =>
  database.sql(
    'select label, scope, revoked_at is null as holds, created_by from ops_api_keys order by created_at',
  );

describe('ops-loop keys', () => {
  test('create prints the key alone, once; list and revoke never do', async () => {
    const made = await run('create', 'anna', '--scope', 'operator', '--expires-days', '30');
    expect(made.code, made.stderr).toBe(0);
    expect(made.stdout).toMatch(/^ops_operator_[0-9a-f]{8}_[0-9a-f]{64}\n$/);
    expect(made.stderr).toMatch(/^key of anna, scope operator, ends in \d+ days; it is shown this once\n$/);
    const key = made.stdout.trim();
    expect(await database.one('select key_hash from ops_api_keys')).toEqual({ key_hash: hashOf(key) });

    const rotated = await json('rotate', 'anna', '--grace-hours', '1');
    expect(rotated.answer).toMatchObject({
      label: 'anna',
      key: expect.stringMatching(/^ops_operator_/),
      replaces: { prefix: key.slice(0, key.lastIndexOf('_')) },
    });
    const listed = await run('list');
    expect(listed.stdout).toMatch(/anna +operator +ops_operator_[0-9a-f]{8} +live/);
    expect(listed.stdout).toMatch(/anna +operator +ops_operator_[0-9a-f]{8} +replaced/);
    const revoked = await json('revoke', 'anna', '--reason', 'test');
    expect(revoked.answer.revoked).toHaveLength(2);
    for (const text of [listed.stdout, JSON.stringify(revoked.answer), revoked.stderr])
      for (const secret of [key, rotated.answer.key]) expect(text).not.toContain(secret);
    expect((await states()).map(({ holds }) => holds)).toEqual([false, false]);
  });

  test('revoke takes one key or --all, and rotate a live key', async () => {
    const [neither, both, nobody, none] = await Promise.all([
      json('revoke'),
      json('revoke', 'anna', '--all'),
      json('rotate', 'nobody'),
      json('create', 'ben'),
    ]);
    expect([neither.code, both.code, nobody.code, none.code]).toEqual([2, 2, 4, 2]);
    expect(nobody.answer.error).toMatchObject({ code: 'OPS_012' });
    await database.sql("insert into ops_seen_secrets (name, fingerprint) values ('OPS_API_KEY', 'x')");
    const [inEnvironment, all] = await Promise.all([json('rotate', 'OPS_API_KEY'), json('revoke', '--all')]);
    expect(inEnvironment.answer.error.hint).toContain('docs/keys.md');
    expect(all.answer).toEqual({ keys: 0, sessions: 0 });
  });
});

test('doctor warns of a key of 83 days, and fails at 90', async () => {
  await database.sql(`insert into ops_api_keys (label, scope, prefix, key_hash, created_by, created_at)
    select 'old' || days, 'viewer', 'p', lpad(days::text, 64, '0'), 'x', now() - days * interval '1 day' from unnest(array[84, 91]) days`);
  const { code, stdout } = await callCli(['doctor', '--json'], env());
  const { checks } = JSON.parse(stdout) as { checks: { check: string; ok: boolean; findings: string[] }[] };
  expect(code).toBe(1);
  expect(checks.find(({ check }) => check === 'keys')).toEqual({
    check: 'keys',
    ok: false,
    level: 'bad',
    findings: [
      expect.stringContaining('The viewer key old84 is 84 days old'),
      expect.stringContaining('The viewer key old91 is 91 days old'),
    ],
  });
});

test('sign-in with a key of the database asks the server for the link', async () => {
  const checkKey = () => ({
    id: '0b8f3f56-6f0e-4f0c-9b3b-8d2a5a3e1c11',
    label: 'anna',
    scope: 'viewer',
    lives_seconds: null,
  });
  const server = await startServer({ app: testApp({ checkKey }).app, host: '127.0.0.1', port: 0 });
  try {
    const key = `ops_viewer_01234567_${'a'.repeat(64)}`;
    const args = ['sign-in', '--url', server.url, '--json'];
    const { code, stdout, stderr } = await runCli(args, { env: { OPS_API_KEY: key } });
    expect(code, stderr).toBe(0);
    const { page } = JSON.parse(stdout) as { page: string };
    expect(page).toMatch(new RegExp(`^${server.url}/#key=\\d+\\.[\\w-]+\\.[\\w-]+\\.[\\w-]+$`));
    expect(page).not.toContain(key);
  } finally {
    await server.close();
  }
});
