/** Lists of the control plane: pages that neither skip nor repeat, one row with all of it, and what has changed. */
import { describe, expect, it } from 'vitest';
import { noop, only, useEngine } from './engine-kit.js';

const engine = useEngine();

describe('ops_list_missions', () => {
  it('gives every mission once, newest first, however the pages are cut', async () => {
    for (let n = 0; n < 5; n++) await engine.mission([noop('only')], `mission ${n}`);
    // Two of one microsecond are told apart by their ids.
    await engine.db.sql(
      "update ops_missions set created_at = (select max(created_at) from ops_missions) where title in ('mission 2', 'mission 3')",
    );
    const all = await engine.port.listMissions({ limit: 100 });
    const seen: string[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await engine.port.listMissions({ limit: 2, cursor });
      seen.push(...page.map(({ id }) => id));
      cursor = page.at(-1)?.cursor;
      if (page.length < 2) break;
    }
    expect(all.map(({ title }) => title).sort()).toEqual([0, 1, 2, 3, 4].map((n) => `mission ${n}`));
    expect(seen).toEqual(all.map(({ id }) => id));
  });

  it('filters by status and pattern, and refuses a status or cursor that is none', async () => {
    const id = await engine.mission([noop('only')]);
    await engine.mission([noop('other')]);
    await engine.complete([only((await engine.claim()).filter(({ mission_id }) => mission_id === id))]);
    await engine.db.sql("update ops_missions set pattern_id = 'p' where id = $1", [id]);
    for (const filter of [{ status: 'succeeded' }, { pattern: 'p' }, { status: 'succeeded', pattern: 'p' }])
      expect((await engine.port.listMissions(filter)).map((mission) => mission.id)).toEqual([id]);
    expect(await engine.port.listMissions({ status: 'failed' })).toEqual([]);
    for (const wrong of [{ status: 'lost' }, { cursor: 'x' }, { cursor: "1 '; drop" }])
      await expect(engine.port.listMissions(wrong)).rejects.toMatchObject({ code: 'OPS_011' });
  });
});

describe('ops_list_waiting', () => {
  it('begins with what expires first, then with the oldest, whatever it waits for', async () => {
    await engine.setPolicy('auto_approve', { enabled: false });
    for (const title of ['never', 'late', 'soon', 'old', 'new'])
      await engine.port.createProposal({ template: { title, steps: [noop('a')] } });
    await engine.db.sql(`update ops_mission_proposals set expires_at = case title
      when 'late' then timestamptz '2099-01-03' when 'soon' then '2099-01-01' when 'old' then '2099-01-02' when 'new' then '2099-01-02' end`);
    const titles = async (limit?: number) =>
      (await engine.port.listWaiting({ limit })).map(({ title }) => title);
    expect(await titles()).toEqual(['soon', 'old', 'new', 'late', 'never']);
    expect(await titles(2)).toEqual(['soon', 'old']);
  });
});

describe('ops_get_mission and ops_get_step', () => {
  it('show steps in their order, and one with its attempts and its dead letter', async () => {
    const id = await engine.mission([noop('first'), noop('second', { params: { echo: 'x' } })]);
    await engine.complete(await engine.claim());
    const second = only(await engine.claim());
    await engine.fail([second], 'permanent', 'no way');
    const mission = await engine.port.getMission({ id });
    expect(mission).toMatchObject({
      id,
      status: 'failed',
      total_steps: 2,
      steps: [
        { key: 'first', status: 'succeeded' },
        { key: 'second', status: 'failed', last_error: 'no way' },
      ],
    });
    const step = await engine.port.getStep({ id: second.id });
    const [letter] = await engine.port.listDeadLetters();
    expect(step).toMatchObject({
      mission_id: id,
      params: { echo: 'x' },
      dead_letter_id: letter?.id,
      attempts: [{ run_id: `${second.id}:${second.lease_epoch}`, status: 'failed', error: 'no way' }],
    });
    await engine.port.retryStep({ id: second.id });
    const again = only(await engine.claim());
    const { attempts, dead_letter_id } = await engine.port.getStep({ id: second.id });
    expect([attempts.map(({ status }) => status), dead_letter_id]).toEqual([['started', 'failed'], null]);
    expect(again.lease_epoch).toBeGreaterThan(second.lease_epoch);
  });

  it('say OPS_012 for an id of nothing', async () => {
    const id = '0b8f3f56-6f0e-4f0c-9b3b-8d2a5a3e1c11';
    await expect(engine.port.getMission({ id })).rejects.toMatchObject({ code: 'OPS_012' });
    await expect(engine.port.getStep({ id })).rejects.toMatchObject({ code: 'OPS_012' });
  });
});

describe('ops_list_policies', () => {
  it('has each policy that is set, by key', async () => {
    const policies = await engine.port.listPolicies();
    const keys = policies.map(({ key }) => key);
    expect(keys).toEqual([...keys].sort());
    for (const { key, version, value } of policies)
      expect(await engine.port.getPolicy({ key })).toMatchObject({ version, value });
  });
});

describe('ops_list_changes', () => {
  const changes = async (since: string, limit?: number) =>
    (await engine.port.listChanges({ since, limit })).map(({ kind, name, status }) => [kind, name, status]);
  const now = async (): Promise<string> =>
    (await engine.db.one("select to_json(ops_clock()) #>> '{}' as at")).at as string;

  it('tells of events, and of missions and proposals as they are now', async () => {
    const before = await now();
    await engine.emit('shop:order');
    await engine.setPolicy('auto_approve', { enabled: false });
    await engine.port.createProposal({ template: { title: 'waits', steps: [noop('a')] } });
    const waiting = await now();
    expect(await changes(before)).toEqual(
      expect.arrayContaining([
        ['event', 'shop:order', null],
        ['proposal', 'waits', 'pending'],
      ]),
    );
    await engine.setPolicy('auto_approve', {
      enabled: true,
      allowed_step_kinds: ['noop'],
      max_risk_level: 'critical',
    });
    await engine.mission([noop('runs')], 'a mission');
    expect(await changes(waiting)).toContainEqual(['mission', 'a mission', 'approved']);
    const approved = await now();
    const claimed = await engine.claim();
    expect(await changes(approved)).toEqual([['mission', 'a mission', 'running']]);
    const running = await now();
    await engine.complete(claimed);
    expect(await changes(running)).toEqual(
      expect.arrayContaining([
        ['mission', 'a mission', 'succeeded'],
        ['event', 'mission:succeeded', 'unmatched'],
      ]),
    );
  });

  it('tells of a proposal that somebody decided, however old it is', async () => {
    await engine.setPolicy('auto_approve', { enabled: false });
    const { id } = await engine.port.createProposal({ template: { title: 'old', steps: [noop('a')] } });
    const since = await now();
    await engine.port.rejectProposal({ id, actor: 'anna', reason: 'no' });
    expect(await changes(since)).toContainEqual(['proposal', 'old', 'rejected']);
  });

  it('gives the latest first, and no more than was asked', async () => {
    const since = await now();
    for (const n of [1, 2, 3]) await engine.emit(`count:n${n}`);
    expect(await changes(since, 2)).toEqual([
      ['event', 'count:n3', null],
      ['event', 'count:n2', null],
    ]);
    expect(await changes(await now())).toEqual([]);
  });
});

describe('a look or a page', () => {
  /** Old rows beside which the young ones are few. */
  const crowd = `
    select set_config('ops.engine', 'on', true);
    insert into ops_agent_events (type, outcome, decided_at, processed_at, created_at)
      select 'old:event', 'unmatched', now(), now(), now() - i * interval '1 second' - interval '1 hour' from generate_series(1, 30000) i;
    insert into ops_missions (proposal_id, status, completed_at, created_at)
      select gen_random_uuid(), 'succeeded', now(), now() - i * interval '1 second' - interval '1 hour' from generate_series(1, 10000) i;`;
  const buffers = async (call: string): Promise<number> => {
    const {
      'QUERY PLAN': [{ Plan: plan }],
    } = await engine.db.one<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }>(
      `explain (analyze, buffers, format json) select * from ${call}`,
    );
    return (plan['Shared Hit Blocks'] ?? 0) + (plan['Shared Read Blocks'] ?? 0);
  };

  it('costs no more for all that lies behind it', async () => {
    await engine.db.sql(crowd);
    await engine.db.sql('vacuum analyze ops_agent_events');
    await engine.db.sql('analyze ops_missions');
    await engine.mission([noop('young')]);
    const look = "ops_list_changes(now() - interval '1 minute')";
    const page =
      "ops_list_missions(p_cursor => (extract(epoch from now()) * 1000000)::bigint || ' 00000000-0000-4000-8000-000000000000')";
    for (const call of [look, page]) {
      await buffers(call);
      expect([call, (await buffers(call)) < 300]).toEqual([call, true]);
    }
  });
});
