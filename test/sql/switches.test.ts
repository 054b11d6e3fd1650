import { expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';

const db = useDatabase();

type Json = unknown;

const mode = async (scope: string) => {
  const { mode } = await db.one(
    "select public.ops_switch_mode(public.ops_policy_value('switches'), $1) as mode",
    [scope],
  );
  return mode;
};

test('a scope is paused with mode, reason and time, and resumed', async () => {
  expect(await mode('all')).toBeNull();
  await db.sql("select public.ops_pause('all', p_reason => 'deploy')");
  await db.sql("select public.ops_pause('executor:noop', 'halt')");
  expect([await mode('all'), await mode('executor:noop'), await mode('reactions')]).toEqual([
    'drain',
    'halt',
    null,
  ]);
  const { value } = await db.one<{ value: { scopes: { all: Json } } }>(
    "select value from public.ops_policy where key = 'switches'",
  );
  expect(value.scopes.all).toEqual({
    mode: 'drain',
    reason: 'deploy',
    since: expect.stringMatching(/^\d{4}-/),
  });
  const { r } = await db.one<{ r: Json }>("select public.ops_resume('all', 'done') as r");
  expect(r).toMatchObject({ scope: 'all', mode: 'run' });
  expect([await mode('all'), await mode('executor:noop')]).toEqual([null, 'halt']);
  expect(
    (
      await db.one(
        "select reason from public.ops_policy_history where key = 'switches' order by version desc limit 1",
      )
    ).reason,
  ).toBe('done');
});

test('scopes paused at the same time are all paused', async () => {
  const scopes = ['heartbeat', 'reactions', 'auto_approve', 'dispatch', 'role:sage', 'pattern:p.1'];
  await Promise.all(scopes.map((scope) => db.sql('select public.ops_pause($1)', [scope])));
  expect(await Promise.all(scopes.map(mode))).toEqual(scopes.map(() => 'drain'));
});

test('a scope or mode that does not exist is refused, naming what does', async () => {
  await expect(db.sql("select public.ops_pause('everything')")).rejects.toMatchObject({
    code: 'OP008',
    hint: expect.stringContaining('mission:<uuid>'),
  });
  await expect(db.sql("select public.ops_pause('all', 'stop')")).rejects.toMatchObject({ code: 'OP008' });
  await expect(db.sql('select public.ops_pause(null)')).rejects.toMatchObject({ code: 'OP011' });
});
