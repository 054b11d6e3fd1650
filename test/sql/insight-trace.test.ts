/** Why, trace, status and health: what they say is what the engine did or will do, and they never write. */
import { describe, expect, it } from 'vitest';
import type { TraceNode } from '../../supabase/client/schemas/rows.js';
import { advanceClock } from '../support/clock.js';
import {
  beat,
  claim,
  complete,
  database,
  emit,
  everyClause,
  fail,
  pattern,
  port,
  propose,
  setMatrix,
  startWorker,
  template,
} from './insight-kit.js';

const nodes = (node: TraceNode): TraceNode[] => [node, ...node.children.flatMap(nodes)];
const kinds = (node: TraceNode): unknown[] => [node.kind, ...node.children.map(kinds)];

describe('the causal tree', () => {
  it('is the same whole tree from every id in it', async () => {
    await setMatrix(
      pattern('first', { event_type: 'a:b', template: template('first', [{ key: 'one', kind: 'noop' }]) }),
      pattern('second', {
        event_type: 'step:noop:succeeded',
        where: '$.data.key == "one"',
        template: template('second', [{ key: 'two', kind: 'noop' }]),
      }),
      pattern('quiet', { event_type: 'a:b', probability: 0 }),
    );
    const event = await emit('a:b');
    await beat();
    await complete();
    await beat();
    const tree = await port.trace({ id: event });
    const mission = (step: unknown[], ...events: unknown[]) => [
      'reaction',
      ['proposal', ['mission', step, ...events]],
    ];
    const second = ['decision', mission(['step'])];
    const raised = ['event', second];
    expect(kinds(tree)).toEqual([
      'event',
      ['decision', mission(['step', ['attempt', raised]], ['event'])],
      ['decision'],
    ]);
    expect(tree).toMatchObject({
      id: event,
      label: 'a:b from manual',
      status: 'fired',
      at: '2026-03-04T12:00:00+00:00',
    });
    for (const { kind, id } of nodes(tree))
      if (['event', 'reaction', 'proposal', 'mission', 'step'].includes(kind))
        expect(await port.trace({ id })).toEqual(tree);
  });

  it('starts at the proposal when there is no event, and shows retries in their order', async () => {
    const { id, steps } = await propose([
      { key: 'one', kind: 'noop' },
      { key: 'two', kind: 'noop' },
    ]);
    await fail('retryable');
    await advanceClock(database.sql, '1 minute');
    await complete();
    const tree = await port.trace({ id: steps[1] ?? '' });
    expect([tree.kind, tree.id]).toEqual(['proposal', id]);
    const attempts = nodes(tree).filter(({ kind }) => kind === 'attempt');
    expect(attempts.map(({ status }) => status)).toEqual(['failed', 'succeeded']);
    expect(
      nodes(tree)
        .filter(({ kind }) => kind === 'step')
        .map(({ label }) => label),
    ).toEqual(['one (noop)', 'two (noop)']);
  });

  it('hangs what a waiting proposal led to under that proposal', async () => {
    await port.setPolicy({
      key: 'auto_approve',
      value: {
        enabled: true,
        allowed_step_kinds: ['noop'],
        max_risk_level: 'low',
        allowed_sources: ['reaction'],
      },
    });
    await setMatrix(pattern('ask', { event_type: 'proposal:waiting' }));
    const { id } = await propose([{ kind: 'noop' }]);
    await beat();
    const tree = await port.trace({ id });
    expect(kinds(tree)).toEqual([
      'proposal',
      ['event', ['decision', ['reaction', ['proposal', ['mission', ['step']]]]]],
    ]);
    expect(await port.trace({ id: nodes(tree).find(({ kind }) => kind === 'step')?.id ?? '' })).toEqual(tree);
  });

  it('is cut at 2,000 nodes and says so', async () => {
    await setMatrix(pattern('any', { event_type: 'a:b' }));
    const id = await emit('a:b');
    await beat();
    await database.sql(
      `insert into public.ops_event_decisions (event_id, pattern_id, revision, outcome, clause, decided_at)
       select $1, 'p' || n, 1, 'unmatched', 'where', public.ops_clock() from generate_series(1, 2500) n`,
      [id],
    );
    const tree = await port.trace({ id });
    expect(nodes(tree)).toHaveLength(2000);
    expect(tree.detail).toMatchObject({ cut: expect.stringContaining('2,000') });
  });
});

describe('status and health', () => {
  it('count every row by status, waits, switches, workers and latencies', async () => {
    await setMatrix(
      pattern('any', {
        event_type: 'a:b',
        template: template('any', [
          { key: 'one', kind: 'noop' },
          { key: 'two', kind: 'noop' },
        ]),
      }),
    );
    await startWorker();
    await emit('a:b');
    await advanceClock(database.sql, '2 seconds');
    await beat();
    await advanceClock(database.sql, '3 seconds');
    await complete();
    await emit('a:b');
    await propose([{ key: 'later', kind: 'noop', priority: -1 }]);
    await fail('retryable');
    const status = await port.status();
    expect(status.events).toMatchObject({ open: 1, fired: 1 });
    expect(status.reactions).toMatchObject({ done: 1 });
    expect(status.proposals).toEqual({ auto_approved: 2 });
    expect(status.missions).toEqual({ running: 2 });
    expect(status.steps).toEqual({ succeeded: 1, queued: 1, scheduled: 1 });
    expect(status.attempts).toEqual({ succeeded: 1, failed: 1 });
    expect(status.waiting).toEqual({ time: 1 });
    expect(status.workers).toMatchObject([{ name: 'worker-a', running: 0, executors: ['noop'] }]);
    expect(status.latencies.event_to_proposal).toEqual({ p50_ms: 2000, p95_ms: 2000, samples: 1 });
    expect(status.latencies.ready_to_claimed).toMatchObject({ samples: 1, p95_ms: 3000 });
    expect(status.latencies.step_run).toMatchObject({ p50_ms: 0, samples: 2 });
    await port.pause({ scope: 'dispatch', reason: 'lunch' });
    await claim();
    const paused = await port.status();
    expect(paused.switches).toMatchObject({ dispatch: { mode: 'drain', reason: 'lunch' } });
    expect(paused.waiting).toEqual({ time: 1, 'switch:dispatch': 1 });
  });

  it('is healthy when nothing waits', async () => {
    await beat();
    expect(await port.health()).toMatchObject({
      status: 'healthy',
      problems: [],
      open_events: 0,
      last_beat_at: '2026-03-04T12:00:00+00:00',
    });
  });

  it('is degraded, then unhealthy, when no beat decides the events', async () => {
    await beat();
    await emit('a:b');
    await advanceClock(database.sql, '16 minutes');
    const degraded = await port.health();
    expect(degraded).toMatchObject({ status: 'degraded', open_events: 1, oldest_open_event_seconds: 960 });
    expect(degraded.problems).toEqual([
      'The last scheduled heartbeat ended 16 minutes ago while 1 events are open: is the scheduler calling? `ops-loop heartbeat` runs one.',
      'The oldest of 1 open events has waited for 16 minutes.',
    ]);
    await advanceClock(database.sql, '1 hour');
    expect((await port.health()).status).toBe('unhealthy');
    await port.pause({ scope: 'heartbeat' });
    expect((await port.health()).problems).toEqual([
      'The oldest of 1 open events has waited for 76 minutes: the switch heartbeat pauses deciding, `ops-loop resume heartbeat` lifts it.',
    ]);
  });

  it('names executors that nobody serves, and leases that nobody recovers', async () => {
    await propose([{ key: 'one', kind: 'noop' }]);
    expect(await port.health()).toMatchObject({
      status: 'degraded',
      problems: [
        'Steps wait for executor noop since 12:00:00 UTC. No worker is alive; `ops-loop worker` starts one.',
      ],
    });
    await startWorker();
    expect((await port.health()).status).toBe('healthy');
    await claim();
    await advanceClock(database.sql, '4 minutes');
    const late = await port.health();
    expect(late).toMatchObject({ status: 'degraded', expired_leases: 1, running_steps: 1 });
    expect(late.problems[0]).toContain('1 of 1 running steps have lost their lease, the first 3 minutes ago');
  });

  it('says that the last beats failed', async () => {
    for (const error of ['one', 'two', 'disk full']) {
      await advanceClock(database.sql, '1 minute');
      await port.recordBeatFailure({ source: 'cron', error });
    }
    expect(await port.health()).toMatchObject({
      status: 'unhealthy',
      problems: ['3 of the last 3 heartbeats failed, the last with: disk full.'],
    });
  });
});

describe('every function here', () => {
  it('works in a read-only transaction', async () => {
    await setMatrix(...everyClause);
    const open = await emit('a:b', { n: 7 });
    await propose([{ key: 'one', kind: 'noop' }]);
    await claim();
    const reader = await database.connect();
    await reader.query('begin read only');
    const asked = `select public.ops_why($1), public.ops_trace($1), public.ops_status(), public.ops_health(), (select count(*) from public.ops_check_invariants())`;
    for (const { id } of await database.sql<{ id: string }>(
      `select id from public.ops_mission_proposals union all select id from public.ops_missions union all select id from public.ops_mission_steps
       union all select $1::uuid`,
      [open],
    ))
      expect((await reader.query(asked, [id])).rowCount).toBe(1);
    await reader.query('rollback');
  });
});
