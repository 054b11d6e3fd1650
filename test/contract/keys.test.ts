/** Keys over HTTP on several instances: whose word counts, when a key or session ends, how often anybody may knock. */
import { beforeEach, describe, expect, it } from 'vitest';
import { mintLoginToken } from '../../vercel/app/login.js';
import { wrongKeysPerMinute } from '../../vercel/app/rates.js';
import { advanceClock } from '../support/clock.js';
import { apiKey, bearer, bodyOf, json, previousKey, secrets } from '../unit/http-app.js';
import { from, type Instance, linkToken, postSession, signedIn, useDoors } from './door-kit.js';

const doors = useDoors();
const { db } = doors;

beforeEach(async () => {
  await db.sql('delete from ops_api_keys; delete from ops_rates; delete from ops_sessions');
  await db.sql("delete from ops_policy where key = 'approvals'");
});

const statusPath = '/api/ops/status';
const read = async ({ app }: Instance, headers: Record<string, string>, path = statusPath) =>
  (await app.request(path, { headers })).status;
const post = ({ app }: Instance, path: string, body: unknown, headers: Record<string, string>) =>
  app.request(path, json(body, headers));
const tally = (statuses: number[]) =>
  Object.fromEntries([...new Set(statuses)].sort().map((s) => [s, statuses.filter((t) => t === s).length]));

describe('a key that is revoked', () => {
  it('opens nothing at once where it was not known, and elsewhere within 30 seconds', async () => {
    const [knows, fresh] = [doors.instance(), doors.instance()];
    const anna = bearer(await doors.key('anna', 'viewer'));
    expect(await read(knows, anna)).toBe(200);
    await doors.port.revokeKey({ key: 'anna' });
    expect(await read(fresh, anna)).toBe(401);
    knows.later(29_000);
    expect(await read(knows, anna)).toBe(200);
    knows.later(2_000);
    expect(await read(knows, anna)).toBe(401);
  });

  it('is looked up once in 30 seconds, however often it is used, and its end is kept to', async () => {
    const here = doors.instance();
    const anna = bearer(await doors.key('anna', 'viewer', 10 / 86_400));
    expect(await read(here, anna)).toBe(200);
    await db.sql('delete from ops_api_keys');
    here.later(9_000);
    expect(await read(here, anna)).toBe(200);
    here.later(1_500);
    expect(await read(here, anna)).toBe(401);
  });
});

describe('a decision', () => {
  const template = { title: 'Say hello', risk_level: 'critical', steps: [{ kind: 'noop', params: {} }] };
  const propose = async (here: Instance, headers: Record<string, string>): Promise<string> =>
    (await bodyOf(await post(here, '/api/ops/proposals', { template }, headers))).id;
  const decidedBy = async (id: string) =>
    (await db.one('select decided_by from ops_mission_proposals where id = $1', [id])).decided_by;
  const setApprovals = (value: object) =>
    db.sql("insert into ops_policy (key, value) values ('approvals', $1)", [JSON.stringify(value)]);

  it('is signed by the label of the key, and approvals.approvers are labels', async () => {
    const here = doors.instance();
    const [anna, ben] = [
      bearer(await doors.key('anna', 'operator')),
      bearer(await doors.key('ben', 'operator')),
    ];
    await setApprovals({ approvers: ['anna'] });
    const id = await propose(here, bearer(apiKey));
    const approve = (headers: Record<string, string>, body = {}) =>
      post(here, `/api/ops/proposals/${id}/approve`, body, headers);
    expect((await approve(ben, { actor: 'anna' })).status).toBe(400);
    const refused = await approve(ben);
    expect([refused.status, (await bodyOf(refused)).detail]).toEqual([
      409,
      'ben is not among approvals.approvers',
    ]);
    expect((await approve(bearer(apiKey))).status).toBe(409);
    expect(await bodyOf(await approve(anna))).toMatchObject({ status: 'approved' });
    expect(await decidedBy(id)).toBe('anna');
  });

  it('is not taken from the key that proposed it; two keys of two persons make a quorum', async () => {
    const here = doors.instance();
    const names = ['anna', 'ben', 'carl'];
    const [anna = {}, ben = {}, carl = {}] = await Promise.all(
      names.map(async (name) => bearer(await doors.key(name, 'operator'))),
    );
    await setApprovals({ quorum: 2 });
    const id = await propose(here, anna);
    const approve = async (headers: Record<string, string>) =>
      (await bodyOf(await post(here, `/api/ops/proposals/${id}/approve`, {}, headers))).status;
    expect(await approve(anna)).toBe(409);
    expect(await approve(ben)).toBe('voting');
    const rotated = await doors.port.revokeKey({ key: 'ben' }).then(() => doors.key('ben', 'operator'));
    expect(await approve(bearer(rotated))).toBe('voting');
    expect(await approve(carl)).toBe('approved');
  });

  it('by vote counts the label, where approvals.voters has it', async () => {
    const here = doors.instance();
    const [anna, ben] = [
      bearer(await doors.key('anna', 'operator')),
      bearer(await doors.key('ben', 'operator')),
    ];
    await setApprovals({ voters: ['anna'], voting: { critical: { enabled: true, min_votes: 1 } } });
    const id = await propose(here, bearer(apiKey));
    const vote = (headers: Record<string, string>) =>
      post(here, `/api/ops/proposals/${id}/vote`, { vote: 'approve', reason: 'fine' }, headers);
    expect((await vote(ben)).status).toBe(409);
    expect(await bodyOf(await vote(anna))).toMatchObject({ id, status: 'approved' });
    expect(await db.sql('select voter, person from ops_proposal_votes where proposal_id = $1', [id])).toEqual(
      [{ voter: 'anna', person: false }],
    );
  });

  it('by revision is signed too: the reviser proposes, somebody else approves', async () => {
    const here = doors.instance();
    const anna = bearer(await doors.key('anna', 'operator'));
    const id = await propose(here, bearer(apiKey));
    const revised = await post(
      here,
      `/api/ops/proposals/${id}/revise`,
      { template: { ...template, title: 'Say it better' } },
      anna,
    );
    const next = await bodyOf(revised);
    expect([revised.status, next.status]).toEqual([201, 'pending']);
    expect((await post(here, `/api/ops/proposals/${next.id}/approve`, {}, anna)).status).toBe(409);
    expect((await post(here, `/api/ops/proposals/${next.id}/approve`, {}, bearer(apiKey))).status).toBe(200);
  });
});

describe('a sign-in link', () => {
  it('opens one session, of ten tries at once on two instances', async () => {
    const [one, two] = [doors.instance(), doors.instance()];
    const token = mintLoginToken(apiKey, new Date());
    const tries = Array.from({ length: 10 }, (_, n) => postSession((n % 2 ? one : two).app, token));
    expect(tally((await Promise.all(tries)).map(({ status }) => status))).toEqual({ 200: 1, 401: 9 });
  });

  it('made with a key signs in as that key, may do what it may, and ends with it', async () => {
    const here = doors.instance();
    const reader = await signedIn(here.app, await linkToken(here.app, await doors.key('rita', 'viewer')));
    expect(await read(here, reader)).toBe(200);
    const path = '/api/ops/proposals/00000000-0000-4000-8000-000000000000/approve';
    expect((await here.app.request(path, { method: 'POST', headers: reader, body: '{}' })).status).toBe(403);

    const token = await linkToken(here.app, await doors.key('olga', 'operator'));
    const cookie = await signedIn(here.app, token);
    const template = { title: 'Ask', risk_level: 'critical', steps: [{ kind: 'noop', params: {} }] };
    const { id } = await bodyOf(await post(here, '/api/ops/proposals', { template }, bearer(apiKey)));
    await here.app.request(`/api/ops/proposals/${id}/reject`, {
      method: 'POST',
      headers: cookie,
      body: '{}',
    });
    expect(await db.one('select decided_by from ops_mission_proposals where id = $1', [id])).toEqual({
      decided_by: 'olga',
    });
    await doors.port.revokeKey({ key: 'olga' });
    here.later(30_000);
    expect(await read(here, cookie)).toBe(401);
  });

  it('is not made by a key that may not read, nor taken when its key was revoked before', async () => {
    const here = doors.instance();
    const ingest = bearer(await doors.key('sender', 'ingest'));
    const asked = await here.app.request('/api/ops/session/link', { method: 'POST', headers: ingest });
    expect(asked.status).toBe(403);
    expect(asked.headers.get('www-authenticate')).toContain('insufficient_scope');
    const token = await linkToken(here.app, await doors.key('olga', 'operator'));
    await doors.port.revokeKey({ key: 'olga' });
    expect((await postSession(here.app, token)).status).toBe(401);
  });
});

describe('a session', () => {
  it('that is signed out ends at once here, and elsewhere within 30 seconds', async () => {
    const [here, there] = [doors.instance(), doors.instance()];
    const cookie = await signedIn(here.app, mintLoginToken(apiKey, new Date()));
    expect([await read(here, cookie), await read(there, cookie)]).toEqual([200, 200]);
    const signedOut = await here.app.request('/api/ops/session', { method: 'DELETE', headers: cookie });
    expect(signedOut.status).toBe(204);
    expect(await read(here, cookie)).toBe(401);
    there.later(30_000);
    expect(await read(there, cookie)).toBe(401);
    expect(await read(doors.instance(), cookie)).toBe(401);
  });

  it('ends after twelve hours, and with every key', async () => {
    const here = doors.instance();
    const cookie = await signedIn(here.app, mintLoginToken(apiKey, new Date()));
    await db.sql("update ops_sessions set expires_at = ops_clock() + interval '10 seconds'");
    expect(await read(here, cookie)).toBe(200);
    here.later(11_000);
    await db.sql("update ops_sessions set expires_at = ops_clock() - interval '1 second'");
    expect(await read(here, cookie)).toBe(401);
    const other = await signedIn(here.app, mintLoginToken(apiKey, new Date()));
    await doors.port.revokeKeys();
    expect(await read(doors.instance(), other)).toBe(401);
  });
});

describe('wrong keys', () => {
  const knock = (here: Instance, address: string, key = 'x'.repeat(40)) =>
    here.app.request(statusPath, { headers: { ...bearer(key), ...from(address) } });

  it('from one address are counted exactly, over two instances, and answered with 429', async () => {
    const instances = [doors.instance(), doors.instance()];
    const tries = Array.from({ length: 50 }, () => instances.map((here) => knock(here, '203.0.113.9')));
    const answers = await Promise.all(tries.flat());
    expect(tally(answers.map(({ status }) => status))).toEqual({
      401: wrongKeysPerMinute,
      429: 100 - wrongKeysPerMinute,
    });
    const late = answers.find(({ status }) => status === 429);
    expect(Number(late?.headers.get('retry-after'))).toBeGreaterThan(50);
    expect(late === undefined ? undefined : await bodyOf(late)).toMatchObject({
      code: 'OPS_019',
      status: 429,
    });
    expect(await db.one('select used from ops_rates')).toEqual({ used: wrongKeysPerMinute });
  });

  it('lock nobody out: a right key passes from the same address, other addresses count for themselves', async () => {
    const here = doors.instance();
    const anna = await doors.key('anna', 'viewer');
    for (let n = 0; n <= wrongKeysPerMinute; n++) await knock(here, '203.0.113.1');
    expect((await knock(here, '203.0.113.1')).status).toBe(429);
    for (const key of [apiKey, anna]) expect((await knock(here, '203.0.113.1', key)).status).toBe(200);
    expect((await knock(here, '203.0.113.2')).status).toBe(401);
    here.later(60_000);
    await advanceClock(db.sql, '1 minute');
    expect((await knock(here, '203.0.113.1')).status).toBe(401);
  });

  it('in sign-in links count as well, and an address over its limit costs no more statements', async () => {
    const here = doors.instance();
    const enter = () => postSession(here.app, 'a.b.c', from('203.0.113.3'));
    for (let n = 0; n < wrongKeysPerMinute; n++) expect((await enter()).status).toBe(401);
    expect((await enter()).status).toBe(429);
    await db.sql('delete from ops_rates');
    expect((await enter()).status).toBe(429);
    expect(await db.sql('select from ops_rates')).toEqual([]);
  });

  it('leave no address in the database', async () => {
    await knock(doors.instance(), '203.0.113.77');
    const { bucket } = await db.one('select bucket from ops_rates');
    expect(bucket).toMatch(/^auth:[0-9a-f]{32}$/);
  });
});

describe('events', () => {
  it('are taken up to the limit of their sender, exactly, and what was refused can come again', async () => {
    const slow = { ...secrets, OPS_INGEST_PER_MINUTE: '20' };
    const instances = [doors.instance(slow), doors.instance(slow)];
    const [one, two] = [await doors.key('one', 'ingest'), bearer(await doors.key('two', 'ingest'))];
    const send = (n: number, headers: Record<string, string>) =>
      instances[n % 2]?.app.request(
        '/api/ops/events',
        json({ type: 'rate:test', dedupe_key: `${n}` }, headers),
      );
    const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => send(n, bearer(one))));
    expect(tally(answers.map((answer) => answer?.status ?? 0))).toEqual({ 201: 20, 429: 30 });
    const stored = () => db.sql("select from ops_agent_events where type = 'rate:test'");
    expect(await stored()).toHaveLength(20);
    const late = answers.find((answer) => answer?.status === 429);
    expect(Number(late?.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await send(1_000, two))?.status).toBe(201);
    for (const minute of [1, 2]) {
      await advanceClock(db.sql, '61 seconds');
      for (const here of instances) here.later(61_000);
      const first = 20 * (minute - 1);
      const again = Array.from({ length: 50 }, (_, n) => n).filter((n) => answers[n]?.status === 429);
      await Promise.all(again.slice(first, first + 20).map((n) => send(n, bearer(one))));
    }
    expect(await stored()).toHaveLength(51);
  });
});

describe('without the database', () => {
  const away = () => doors.instance(secrets, 'postgresql://nobody@127.0.0.1:1/nothing');

  it('no key is believed that only the database knows, and none is called wrong for that', async () => {
    const here = away();
    const anna = await doors.key('anna', 'viewer');
    for (const key of [apiKey, previousKey, anna]) expect(await read(here, bearer(key))).toBe(503);
    expect(await read(here, bearer('undefined'))).toBe(401);
    const codes = here.lines.filter(({ event }) => event === 'http.secrets_not_noted');
    expect(codes).toEqual([{ event: 'http.secrets_not_noted', code: 'OPS_001' }]);
  });
});
