/** Keys of callers, first sight of secrets, sessions and rates, as the database keeps them. */
import { beforeEach, describe, expect, test } from 'vitest';
import { hashOf, isKey, newKey } from '../../supabase/client/keys.js';
import type { KeyScope } from '../../supabase/client/terms.js';
import { advanceClock, setClock } from '../support/clock.js';
import { blocked, hold, only, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

beforeEach(() =>
  db.sql(
    'delete from ops_api_keys; delete from ops_seen_secrets; delete from ops_sessions; delete from ops_rates',
  ),
);

const create = async (label: string, scope: KeyScope = 'viewer', expiresDays?: number) => {
  const made = newKey(scope);
  const receipt = await engine.port.createKey({
    ...{ label, scope, prefix: made.prefix, hash: made.hash, actor: 'root' },
    ...(expiresDays === undefined ? {} : { expiresDays }),
  });
  return { ...made, receipt };
};
const rotate = async (key: string, graceHours?: number, scope: KeyScope = 'viewer') => {
  const made = newKey(scope);
  const receipt = await engine.port.rotateKey({
    ...{ key, prefix: made.prefix, hash: made.hash },
    ...(graceHours === undefined ? {} : { graceHours }),
  });
  return { ...made, receipt };
};
const check = (hash: string) => engine.port.checkKey({ hash });
const states = async () =>
  (await engine.port.listKeys({ all: true })).map(({ label, state }) => `${label} ${state}`);

describe('a key', () => {
  test('is 256 random bits behind a prefix that says its scope, and none is like another', () => {
    const made = Array.from({ length: 100 }, () => newKey('ingest'));
    expect(new Set(made.map(({ key }) => key)).size).toBe(100);
    for (const { key, prefix, hash } of made) {
      expect(isKey(key)).toBe(true);
      expect(key).toMatch(new RegExp(`^${prefix}_[0-9a-f]{64}$`));
      expect(hash).toBe(hashOf(key));
    }
    for (const other of [
      '',
      'undefined',
      'null',
      'ops_viewer_01234567',
      `ops_viewer_01234567_${'g'.repeat(64)}`,
    ])
      expect(isKey(other), other).toBe(false);
  });

  test('is known by its hash: scope and label, from the moment it is made', async () => {
    const { hash, prefix, receipt } = await create('anna', 'operator');
    expect(receipt).toMatchObject({
      label: 'anna',
      scope: 'operator',
      prefix,
      expires_at: null,
      replaces: null,
    });
    expect(await check(hash)).toEqual({
      id: receipt.id,
      label: 'anna',
      scope: 'operator',
      lives_seconds: null,
    });
    expect(await check(hashOf('undefined'))).toBeNull();
    expect(await check('')).toBeNull();
  });

  test('opens until its end, to the second, and its label is free then', async () => {
    await setClock(db.sql, { at: '2026-11-20T08:00:00Z' });
    const { hash } = await create('anna', 'viewer', 10);
    await advanceClock(db.sql, '10 days -1 second');
    expect(await check(hash)).toMatchObject({ lives_seconds: 1 });
    await expect(create('anna')).rejects.toMatchObject({ code: 'OPS_015' });
    await advanceClock(db.sql, '1 second');
    expect(await check(hash)).toBeNull();
    expect(await states()).toEqual(['anna expired']);
    await create('anna');
    expect(await states()).toEqual(['anna live', 'anna revoked']);
  });

  test('notes its use once a minute, and waits for nobody who does', async () => {
    await setClock(db.sql, { at: '2026-11-20T08:00:00Z' });
    const { hash } = await create('anna');
    const used = async () => only(await engine.port.listKeys()).last_used_at;
    await check(hash);
    const first = await used();
    await advanceClock(db.sql, '60 seconds');
    await check(hash);
    expect(await used()).toBe(first);
    await advanceClock(db.sql, '1 second');
    const release = await hold(db, 'select from ops_api_keys for update');
    expect(await check(hash)).toMatchObject({ label: 'anna' });
    await release();
    await check(hash);
    expect(Date.parse(String(await used())) - Date.parse(String(first))).toBe(61_000);
  });

  test.each<[string, string, KeyScope]>([
    ['nothing', '', 'viewer'],
    ['two words', 'an na', 'viewer'],
    ['the loop itself', 'ops-loop', 'operator'],
    ['the votes', 'Votes', 'operator'],
    ["the environment's key", 'api-key', 'operator'],
    ['the page', 'dashboard', 'operator'],
    ['a role of an agent', 'Sage', 'operator'],
    ['a prefix', 'ops_viewer_01234567', 'viewer'],
  ])('is not labelled with %s', async (_what, label, scope) => {
    await expect(create(label, scope)).rejects.toMatchObject({ code: 'OPS_011' });
    expect(await states()).toEqual([]);
  });

  test('is not taken with another scope than its prefix says, nor itself in the place of its hash', async () => {
    const { key, prefix, hash } = newKey('viewer');
    const made = { label: 'anna', prefix, hash };
    for (const wrong of [
      { ...made, scope: 'operator' as const },
      { ...made, scope: 'viewer' as const, hash: key },
      { ...made, scope: 'viewer' as const, prefix: key },
    ])
      await expect(engine.port.createKey(wrong)).rejects.toMatchObject({ code: 'OPS_011' });
    await expect(engine.port.createKey({ ...made, scope: 'viewer', expiresDays: 0 })).rejects.toMatchObject({
      code: 'OPS_011',
    });
  });

  test('of one label is made once, whatever the case, by twenty at once', async () => {
    const answers = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) => create(n % 2 ? 'anna' : 'Anna')),
    );
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const answer of answers)
      if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'OPS_015' });
  });
});

describe('a rotation', () => {
  test('lets old and new open side by side for a day, under one label and scope', async () => {
    await setClock(db.sql, { at: '2026-11-20T08:00:00Z' });
    const old = await create('anna', 'viewer', 90);
    await advanceClock(db.sql, '80 days');
    const next = await rotate('ANNA');
    expect(next.receipt).toMatchObject({
      label: 'anna',
      scope: 'viewer',
      expires_at: expect.stringMatching(/^2027-05-09T08:00:00/),
      replaces: { prefix: old.prefix },
    });
    expect(await states()).toEqual(['anna live', 'anna replaced']);
    expect([(await check(old.hash))?.label, (await check(next.hash))?.label]).toEqual(['anna', 'anna']);
    await advanceClock(db.sql, '24 hours');
    expect(await check(old.hash)).toBeNull();
    expect(await check(next.hash)).toMatchObject({ label: 'anna' });
  });

  test('without grace ends the old one at once, and never lengthens a life', async () => {
    const old = await create('anna');
    await rotate(old.prefix, 0);
    expect(await check(old.hash)).toBeNull();
    const short = await create('ben', 'viewer', 0.5);
    await rotate('ben', 720);
    expect((await check(short.hash))?.lives_seconds).toBeLessThanOrEqual(12 * 3_600);
  });

  test('by ten at once is one after the other: one key is live', async () => {
    await create('anna');
    const answers = await Promise.allSettled(Array.from({ length: 10 }, () => rotate('anna')));
    expect(answers.some(({ status }) => status === 'fulfilled')).toBe(true);
    for (const answer of answers)
      if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'OPS_012' });
    expect((await states()).filter((state) => state === 'anna live')).toHaveLength(1);
  });

  test('of nobody, of a dead key, into another scope or for a year is refused', async () => {
    await expect(rotate('nobody')).rejects.toMatchObject({ code: 'OPS_012' });
    await create('anna');
    await expect(rotate('anna', 24, 'operator')).rejects.toMatchObject({ code: 'OPS_011' });
    await expect(rotate('anna', 9_000)).rejects.toMatchObject({ code: 'OPS_011' });
    await engine.port.revokeKey({ key: 'anna' });
    await expect(rotate('anna')).rejects.toMatchObject({ code: 'OPS_012' });
  });
});

describe('a revocation', () => {
  test('by label ends the key and the one it replaced; by prefix that one alone', async () => {
    const [old, other] = [await create('anna'), await create('ben')];
    const next = await rotate('anna');
    const revoked = await engine.port.revokeKey({ key: old.prefix, actor: 'root', reason: 'lost' });
    expect(revoked).toEqual([{ label: 'anna', scope: 'viewer', prefix: old.prefix }]);
    expect([await check(old.hash), (await check(next.hash))?.label]).toEqual([null, 'anna']);
    const last = await rotate('anna');
    expect(await engine.port.revokeKey({ key: 'anna' })).toHaveLength(2);
    expect([await check(next.hash), await check(last.hash)]).toEqual([null, null]);
    expect((await check(other.hash))?.label).toBe('ben');
    await expect(engine.port.revokeKey({ key: 'anna' })).rejects.toMatchObject({ code: 'OPS_012' });
    const record = (await engine.port.listKeys({ all: true })).find(({ prefix }) => prefix === old.prefix);
    expect(record).toMatchObject({ state: 'revoked', revoked_by: 'root', revoke_reason: 'lost' });
  });

  test('of all ends every key and every session', async () => {
    const keys = [await create('anna'), await create('ben', 'operator')];
    await openSession('one');
    expect(await engine.port.revokeKeys({ actor: 'root' })).toEqual({ keys: 2, sessions: 1 });
    for (const { hash } of keys) expect(await check(hash)).toBeNull();
    expect(await engine.port.checkSession({ hash: hashOf('cookie one') })).toBeNull();
    expect(await engine.port.listKeys()).toEqual([]);
  });
});

const fingerprint = (secret: string) => hashOf(`fingerprint of ${secret}`);

describe('secrets of the environment', () => {
  const see = (secret: string) => engine.port.seeSecrets({ secrets: { OPS_API_KEY: fingerprint(secret) } });

  test('are as old as their first sight, over all instances', async () => {
    await setClock(db.sql, { at: '2026-11-20T08:00:00Z' });
    const first = await Promise.all(Array.from({ length: 20 }, () => see('one')));
    for (const answer of first) expect(answer).toEqual({ OPS_API_KEY: 0 });
    await advanceClock(db.sql, '2 hours');
    expect(await see('one')).toEqual({ OPS_API_KEY: 7_200 });
    expect(await see('two')).toEqual({ OPS_API_KEY: 0 });
    expect(await see('one')).toEqual({ OPS_API_KEY: 7_200 });
  });

  test('are listed by name, the one that is said now, without anything to know them by', async () => {
    await setClock(db.sql, { at: '2026-11-20T08:00:00Z' });
    await see('one');
    await advanceClock(db.sql, '5 days');
    await see('two');
    const listed = await engine.port.listKeys({ all: true });
    expect(listed).toMatchObject([
      {
        label: 'OPS_API_KEY',
        place: 'environment',
        scope: 'operator',
        state: 'live',
        age_days: 0,
        prefix: null,
      },
      { label: 'OPS_API_KEY', state: 'replaced', age_days: 5 },
    ]);
    expect(JSON.stringify(listed)).not.toContain(fingerprint('two'));
    expect(await engine.port.listKeys()).toHaveLength(1);
    await advanceClock(db.sql, '31 days');
    expect(await engine.port.listKeys()).toEqual([]);
  });
});

describe('the age alarm', () => {
  const problems = async (day: number) => {
    await setClock(db.sql, { at: new Date(Date.UTC(2026, 0, 1 + day, 8)) });
    return engine.port.keyProblems();
  };

  test('warns of a key at 83 days and is severe at 90, and of an end a week before', async () => {
    await setClock(db.sql, { at: '2026-01-01T08:00:00Z' });
    await create('anna');
    await create('ben', 'ingest', 60);
    expect(await problems(52)).toEqual([]);
    expect(await problems(54)).toEqual([
      { severe: false, problem: expect.stringMatching(/^The ingest key ben ends at 2026-03-02 08:00 UTC/) },
    ]);
    expect(await problems(82)).toEqual([]);
    expect(await problems(83)).toEqual([
      { severe: false, problem: expect.stringContaining('`ops-loop keys rotate anna`') },
    ]);
    expect(await problems(90)).toMatchObject([{ severe: true }]);
    await rotate('anna');
    expect(await problems(90)).toEqual([]);
  });

  test('is raised by a secret of the environment too, as long as somebody has it', async () => {
    await setClock(db.sql, { at: '2026-01-01T08:00:00Z' });
    const see = () => engine.port.seeSecrets({ secrets: { CRON_SECRET: fingerprint('cron') } });
    await see();
    expect(await problems(95)).toEqual([]);
    await see();
    expect(await problems(95)).toEqual([
      { severe: true, problem: expect.stringMatching(/^CRON_SECRET is in use for 95 days/) },
    ]);
  });
});

const openSession = (name: string, keyId?: string, link = `link ${name}`) =>
  engine.port.openSession({
    ...{ signInHash: hashOf(link), sessionHash: hashOf(`cookie ${name}`), scope: 'operator', label: 'x' },
    ...(keyId === undefined ? {} : { keyId }),
  });
const sessionOf = (name: string) => engine.port.checkSession({ hash: hashOf(`cookie ${name}`) });

describe('a session', () => {
  test('is opened once per link, by whoever of thirty comes first', async () => {
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, n) => openSession(String(n), undefined, 'one link')),
    );
    expect(answers.filter(({ opened }) => opened)).toHaveLength(1);
    expect((await Promise.all(answers.map((_, n) => sessionOf(String(n))))).filter(Boolean)).toHaveLength(1);
  });

  test('ends after twelve hours, when it is signed out, and with its key', async () => {
    await setClock(db.sql, { at: '2026-11-20T08:00:00Z' });
    const { receipt } = await create('anna', 'operator');
    await openSession('late');
    await openSession('out');
    await openSession('hers', receipt.id);
    expect(await sessionOf('hers')).toMatchObject({ key_id: receipt.id, lives_seconds: 43_200 });
    expect(await engine.port.endSession({ hash: hashOf('cookie out') })).toEqual({ ended: true });
    expect(await engine.port.endSession({ hash: hashOf('cookie out') })).toEqual({ ended: false });
    expect(await sessionOf('out')).toBeNull();
    await engine.port.revokeKey({ key: 'anna' });
    expect(await sessionOf('hers')).toBeNull();
    expect(await openSession('again', receipt.id)).toEqual({ opened: false, expires_at: null });
    await advanceClock(db.sql, '12 hours -1 second');
    expect(await sessionOf('late')).toMatchObject({ lives_seconds: 1 });
    await advanceClock(db.sql, '1 second');
    expect(await sessionOf('late')).toBeNull();
  });

  test('leaves its row until no link can come again, then it is swept', async () => {
    await setClock(db.sql, { at: '2026-11-20T08:00:00Z' });
    await openSession('old');
    await advanceClock(db.sql, '7 days');
    await openSession('new');
    expect(await openSession('old again', undefined, 'link old')).toMatchObject({ opened: false });
    await advanceClock(db.sql, '13 hours');
    await openSession('newer');
    expect(await db.sql('select from ops_sessions')).toHaveLength(2);
  });
});

describe('a rate', () => {
  const take = (bucket: string, limit: number) => engine.port.takeRate({ bucket, limit, windowSeconds: 60 });

  test('lets exactly its limit through, of fifty at once, in every round', async () => {
    for (const round of ['a', 'b', 'c', 'd']) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => take(round, 20)));
      expect(answers.filter(({ allowed }) => allowed)).toHaveLength(20);
      expect(new Set(answers.filter(({ allowed }) => allowed).map(({ left }) => left)).size).toBe(20);
    }
  });

  test('of a bucket that another holds waits for it, and counts what it did', async () => {
    await take('a', 2);
    const release = await hold(db, "update ops_rates set used = 2 where bucket = 'a'");
    const waiting = take('a', 2);
    await blocked(db, 1, 'the bucket');
    await release();
    expect(await waiting).toMatchObject({ allowed: true, left: 0 });
    expect(await take('a', 2)).toMatchObject({ allowed: false });
  });

  test('says when to come again, and opens then, for the limit anew', async () => {
    await setClock(db.sql, { at: '2026-11-20T08:00:00Z' });
    expect(await take('a', 1)).toEqual({ allowed: true, left: 0, retry_after_seconds: 0 });
    await advanceClock(db.sql, '20.5 seconds');
    expect(await take('a', 1)).toEqual({ allowed: false, left: 0, retry_after_seconds: 40 });
    await advanceClock(db.sql, '39.5 seconds');
    expect(await take('a', 1)).toMatchObject({ allowed: true });
    expect(await take('a', 1)).toMatchObject({ allowed: false, retry_after_seconds: 60 });
  });

  test('of nothing lets nothing through, and leaves no row', async () => {
    expect(await take('a', 0)).toMatchObject({ allowed: false, retry_after_seconds: 60 });
    expect(await db.sql('select from ops_rates')).toEqual([]);
  });

  test('forgets old windows as new ones open', async () => {
    await setClock(db.sql, { at: '2026-11-20T08:00:00Z' });
    await Promise.all(Array.from({ length: 25 }, (_, n) => take(`old ${n}`, 5)));
    await advanceClock(db.sql, '3 minutes');
    for (const bucket of ['a', 'b', 'c']) await take(bucket, 5);
    expect(await db.sql('select bucket from ops_rates order by 1')).toEqual([
      { bucket: 'a' },
      { bucket: 'b' },
      { bucket: 'c' },
    ]);
  });
});

describe('approvals.voters', () => {
  const voting = { low: { enabled: true, min_votes: 2 } };
  const vote = async (voters: string[] | undefined, voter: string) => {
    await engine.setPolicy('auto_approve', { enabled: false });
    await engine.setPolicy('approvals', {
      voting,
      veto: ['vera'],
      ...(voters === undefined ? {} : { voters }),
    });
    const { id } = await engine.port.createProposal({
      template: { title: 'work', steps: [{ kind: 'noop' }] },
    });
    return engine.port.castVote({ id, voter, vote: 'approve' });
  };

  test('missing lets anybody vote; set, only those in it; empty, nobody', async () => {
    expect(await vote(undefined, 'anyone')).toMatchObject({ status: 'voting' });
    expect(await vote(['anna'], 'anna')).toMatchObject({ status: 'voting' });
    for (const [voters, voter] of [
      [['anna'], 'ben'],
      [['anna'], 'Anna'],
      [[], 'anna'],
      [['anna'], 'vera'],
    ] as const)
      await expect(vote([...voters], voter)).rejects.toMatchObject({
        code: 'OPS_003',
        message: `${voter} is not among approvals.voters`,
      });
    expect(await db.sql("select from ops_proposal_votes where voter not in ('anyone', 'anna')")).toEqual([]);
  });
});

test.each(['ops_worker', 'anon', 'authenticated'])('%s may neither see nor make a key', async (role) => {
  const client = await db.connect(db.adminUrl);
  await client.query(`set role ${role}`);
  for (const statement of [
    'select from ops_api_keys',
    'select from ops_sessions',
    `select ops_check_key('${hashOf('x')}')`,
    "select ops_create_key('x', 'operator', 'p', 'h')",
    'select ops_revoke_keys()',
    "select ops_take_rate('x', 1, 1)",
  ])
    await expect(client.query(statement), statement).rejects.toMatchObject({ code: '42501' });
});
