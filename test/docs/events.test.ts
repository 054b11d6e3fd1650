import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { projectRoot } from '../../local/env.js';
import { planSchedules } from '../../supabase/client/schedules.js';
import { noop, only, ref, useEngine } from '../sql/engine-kit.js';
import { advanceClock } from '../support/clock.js';

type Row = { type: string; members: string[] };

const page = readFileSync(join(projectRoot, 'docs/events.md'), 'utf8');
const rows: Row[] = [...page.matchAll(/^\| `([a-z_:<>]+)` \| .+ \| (.+) \|$/gm)].map(
  ([, type = '', data = '']) => ({
    type: type.replaceAll(/<\w+>/g, '*'),
    members: [...data.matchAll(/`(\w+\??)`/g)].map(([, member = '']) => member),
  }),
);

const folders = { sql: 'supabase/migrations', executors: 'local/executors' };
const textOf = (folder: string): string =>
  readdirSync(join(projectRoot, folder))
    .filter((file) => /\.(sql|ts)$/.test(file))
    .map((file) => readFileSync(join(projectRoot, folder, file), 'utf8'))
    .join('\n');

/** `'step:' || d.kind || ':failed'` → `step:*:failed`; empty when nothing of the type is written out. */
function typeOf(expression: string): string {
  const parts = expression.split('||').map((part) => /^'([^']*)'$/.exec(part.trim())?.[1] ?? '*');
  return parts.every((part) => part === '*') ? '' : parts.join('');
}

/** Types in calls of the raising functions, and in rows that are inserted as events. */
function raisedTypes(sql: string): string[] {
  const calls = sql.matchAll(/ops_raise_(?:mission_|proposal_)?event\(((?:\([^()]*\)|[^(),])+),/g);
  const selected = sql.matchAll(
    /('\w+:'? ?\|\|[^,\n]+?|'heartbeat:\w+'[^,\n]*?'heartbeat:\w+' end) as type\b/g,
  );
  const literals = (text: string) => (text.includes(' end') ? (text.match(/'[^']+'/g) ?? []) : [text]);
  return [...calls, ...selected]
    .flatMap(([, text = '']) => literals(text).map(typeOf))
    .filter((type) => type !== '');
}

describe('docs/events.md', () => {
  test('lists every type that SQL or a built-in executor raises, and no other', () => {
    const emitted = [...textOf(folders.executors).matchAll(/\btype: [`']([a-z_]+:[^`']+)[`']/g)];
    const types = [
      ...raisedTypes(textOf(folders.sql)),
      ...emitted.map(([, type = '']) => type.replaceAll(/\$\{[^}]+\}/g, '*')),
    ];
    expect(rows.map(({ type }) => type).sort()).toEqual([...new Set(types)].sort());
  });
});

describe('the events that the loop raises', () => {
  const engine = useEngine();
  type Seen = { type: string; data: Record<string, unknown> }[];
  let collected: Promise<Seen> | undefined;
  /** Plays all stages once, in the first test that asks. */
  const seen = (): Promise<Seen> => {
    collected ??= collect();
    return collected;
  };

  type Ending = 'succeeds' | 'fails' | 'is cancelled';
  const runMission = async (outcome: Ending, dry_run = false): Promise<void> => {
    const template = { title: 'one step', dry_run, steps: [noop('only')] };
    const { mission_id } = await engine.port.createProposal({ template });
    const id = mission_id ?? '';
    if (outcome === 'is cancelled') await engine.port.cancelMission({ id });
    const claimed = await engine.claim();
    if (outcome === 'succeeds') await engine.complete(claimed);
    if (outcome === 'fails') await engine.fail(claimed, 'permanent');
  };
  const propose = () => engine.port.createProposal({ template: { title: 'ask', steps: [noop('only')] } });

  const steps = async (): Promise<void> => {
    for (const outcome of ['succeeds', 'fails', 'is cancelled'] as const) await runMission(outcome);
    for (const outcome of ['succeeds', 'fails'] as const) await runMission(outcome, true);
    await engine.mission([noop('talks')]);
    const results = [{ ...ref(only(await engine.claim())), result: {}, events: [{ type: 'not a type' }] }];
    await engine.db.sql('select ops_complete_steps($1, $2)', ['w', JSON.stringify(results)]);
    await engine.mission([noop('odd')]);
    await engine.claim();
    const client = await engine.db.connect();
    await client.query(
      "set session_replication_role = replica; update ops_mission_steps set kind = 'a b', crash_count = 9 where key = 'odd'",
    );
    await advanceClock(engine.db.sql, '61 seconds');
    await engine.port.recoverExpiredLeases();
    await client.query("update ops_mission_steps set kind = 'noop' where key = 'odd'");
    await client.end();
  };
  const money = async (): Promise<void> => {
    await engine.setPolicy('budgets', { global: { runs_per_day: 5 } });
    await engine.mission(Array.from({ length: 6 }, (_, n) => noop(`n${n}`, { depends_on: [] })));
    await engine.claim(4);
    await engine.complete(await engine.claim(4));
    await engine.db.sql("delete from ops_policy where key = 'budgets'");
  };
  const radar = async (): Promise<void> => {
    await engine.mission([noop('hears')]);
    const [step] = await engine.claim();
    const held = { stepId: step?.id, leaseEpoch: step?.lease_epoch };
    const signals = ['a', 'b'].map((title) => ({ title }));
    const [from, into] = await engine.port.radarAdd({ signals, ...held });
    await engine.port.radarMove({ id: from?.id ?? '', stage: 'validating', reason: 'asked for', ...held });
    await engine.port.radarMerge({ from: from?.id ?? '', into: into?.id ?? '', actor: 'anna' });
  };
  const clock = async (): Promise<void> => {
    await engine.setPolicy('schedules', {
      schedules: [{ id: 'hourly', cron: '0 * * * *', missed: 'skip', event: { type: 'report:due' } }],
    });
    const { id, revision, from_at: until } = only(await engine.port.schedulesToPlan());
    const problem = 'its zone is not known here';
    await engine.port.planSlots({ plans: [{ id, revision, until, slots: [], problem }] });
    await advanceClock(engine.db.sql, '10 minutes');
    await planSchedules(engine.port);
    await advanceClock(engine.db.sql, '3 hours');
    await engine.beat();
  };
  const people = async (): Promise<void> => {
    await engine.setPolicy('auto_approve', { enabled: false });
    await engine.port.approveProposal({ id: (await propose()).id, actor: 'anna' });
    await engine.port.rejectProposal({ id: (await propose()).id, actor: 'anna', reason: 'no' });
    await engine.setPolicy('approvals', { expires_minutes: 5 });
    await propose();
    await advanceClock(engine.db.sql, '10 minutes');
    await engine.beat();
    await engine.setPolicy('proposal_caps', { daily_limit: 0, on_exceed: 'reject' });
    await propose();
    await engine.setPolicy('proposal_caps', {});
  };
  const chains = async (): Promise<void> => {
    await engine.setPolicy('auto_approve', {
      enabled: true,
      allowed_step_kinds: ['noop'],
      max_risk_level: 'critical',
    });
    await engine.setPolicy('loop_limits', { max_depth: 1 });
    const template = { title: 'again', steps: [noop('only')] };
    await engine.patterns(
      { id: 'first', event_type: 'chain:start', template },
      { id: 'second', event_type: 'mission:succeeded', template },
    );
    await engine.emit('chain:start');
    await engine.beat();
    await engine.complete(await engine.claim());
    await engine.beat();
  };
  const trouble = async (): Promise<void> => {
    await engine.patterns();
    await engine.beat('cron');
    await engine.port.recordBeatFailure({ source: 'test', error: 'it broke' });
    await engine.port.recordRefusal({ key: 'proposal_caps', reason: '$.daily_limit is -1, below 0' });
    await engine.port.createProposals({
      proposals: Array.from({ length: 201 }, () => ({ template: { title: 'many', steps: [noop('only')] } })),
    });
    await engine.claim(500);
    await advanceClock(engine.db.sql, '1 hour');
    await engine.port.recoverStaleSteps();
    await engine.beat();
    await engine.setPolicy('worker_policy', { breaker: { consecutive: 2 } });
    for (const _ of [1, 2, 3]) await runMission('fails');
    await engine.beat();
  };
  const alarm = async (): Promise<void> => {
    const key = { prefix: 'ops_viewer_0a1b2c3d', hash: '0'.repeat(64) };
    await engine.port.createKey({ label: 'young', scope: 'viewer', ...key });
    for (const days of [0, 1_000, 1_000]) {
      await engine.setPolicy('alerts', { rules: { key_age: { warning: days, critical: 2_000 } } });
      await advanceClock(engine.db.sql, '4 minutes');
      await engine.beat();
    }
  };
  const collect = async (): Promise<Seen> => {
    for (const stage of [steps, money, radar, clock, people, chains, trouble, alarm]) await stage();
    return engine.db.sql("select type, data from ops_agent_events where source = 'ops-loop'");
  };

  const matches = (pattern: string, type: string) =>
    new RegExp(`^${pattern.replaceAll('*', '[a-z_]+')}$`).test(type);
  const rowsOf = (type: string): Row[] => rows.filter((row) => matches(row.type, type));

  test.each(rows)('$type is raised with its members', async ({ type, members }) => {
    const events = (await seen()).filter(
      (event) => matches(type, event.type) && rowsOf(event.type)[0]?.type === type,
    );
    expect(events.length, `an event of type ${type}`).toBeGreaterThan(0);
    const always = members.filter((member) => !member.endsWith('?'));
    for (const { data } of events) expect(Object.keys(data)).toEqual(expect.arrayContaining(always));
    const known = members.map((member) => member.replace('?', ''));
    expect([...new Set(events.flatMap(({ data }) => Object.keys(data)))].sort()).toEqual(known.sort());
  });
});
