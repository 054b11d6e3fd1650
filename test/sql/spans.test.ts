/** What has ended, as spans: the whole tree, each once, and nothing of what it was about. */
import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { traceparentOf } from '../../local/tracing/traceparent.js';
import type { Span } from '../../supabase/client/schemas/rows.js';
import { advanceClock } from '../support/clock.js';
import { until } from '../support/until.js';
import { hold, inTransaction, type Lease, noop, only, useEngine } from './engine-kit.js';

const engine = useEngine();
const traceId = '0af7651916cd43dd8448eb211c80319c';
const sender = `00-${traceId}-b7ad6b7169203331-01`;
const canary = 'canary-of-a-payload';

beforeEach(async () => {
  await engine.db.sql('delete from ops_span_cursor');
  // An exporter begins where it is first asked.
  await engine.port.takeSpans();
});

/** Everything that an exporter gets while a few seconds pass. */
async function take(limit?: number): Promise<Span[]> {
  await advanceClock(engine.db.sql, '3 seconds');
  const spans: Span[] = [];
  const cursor = () =>
    engine.db.one<{ at: Date; now: Date }>('select safe_upto as at, ops_clock() as now from ops_span_cursor');
  const asked = (await cursor()).now;
  await until(
    async () => {
      await advanceClock(engine.db.sql, '3 seconds');
      for (let more = true; more; ) {
        const page = await engine.port.takeSpans({ limit });
        spans.push(...page.spans);
        more = page.more;
      }
      return (await cursor()).at >= asked;
    },
    { what: 'everybody who wrote before has ended' },
  );
  return spans;
}

const half = (id: unknown): string => String(id).replaceAll('-', '').slice(16);
const attemptId = ({ id, lease_epoch }: Lease): string =>
  createHash('sha256').update(`${id}:${lease_epoch}`).digest('hex').slice(0, 16);
const named = (spans: Span[], start: string): Span =>
  only(spans.filter(({ name }) => name.startsWith(start)));
/** `child < parent`, by name. */
const edges = (spans: Span[]): string[] =>
  spans
    .map(({ name, parent_span_id }) => {
      const parent = spans.find(({ span_id }) => span_id === parent_span_id);
      return `${name} < ${parent?.name ?? parent_span_id}`;
    })
    .sort();

const fires = (id: string, event_type: string, steps = [noop('one')]) => ({
  ...{ id, event_type },
  template: { title: id, steps },
});

describe('ops_take_spans', () => {
  it('tells the way from event to attempt as one tree, in the trace of the sender', async () => {
    await engine.patterns(fires('greet', 'demo:*', [noop('one', { params: { echo: canary } })]));
    const sent = { type: 'demo:hello', data: { text: canary }, traceparent: sender };
    const event = only(await engine.port.emitEvents({ events: [sent] }));
    await engine.beat();
    const step = only(await engine.claim());
    expect(traceparentOf(step)).toBe(`00-${traceId}-${attemptId(step)}-01`);
    await engine.complete([step], { said: canary });
    const spans = await take();
    expect(edges(spans)).toEqual([
      'attempt noop < step noop',
      'event demo:hello < b7ad6b7169203331',
      'mission < proposal reaction',
      'proposal reaction < reaction greet',
      'reaction greet < event demo:hello',
      'step noop < mission',
    ]);
    expect(new Set(spans.map((span) => span.trace_id))).toEqual(new Set([traceId]));
    expect(spans.map((span) => span.error)).not.toContain(true);
    expect(spans.every(({ start_us, end_us }) => end_us >= start_us && start_us > 1e15)).toBe(true);
    expect(named(spans, 'event').span_id).toBe(half(event.id));
    expect(named(spans, 'step').span_id).toBe(half(step.id));
    expect(named(spans, 'attempt')).toMatchObject({
      span_id: attemptId(step),
      attributes: { 'ops.attempt.status': 'succeeded', 'ops.executor': 'noop', 'ops.worker': 'w' },
    });
    expect(JSON.stringify(spans)).not.toContain(canary);
    expect(await take(), 'and once').toEqual([]);
  });

  it('takes the root event as the trace where nobody sent one, down a chain of missions', async () => {
    await engine.patterns(
      fires('first', 'demo:*', [{ key: 'one', kind: 'radar', executor: 'noop' }]),
      fires('second', 'step:radar:succeeded'),
    );
    const { id } = await engine.emit('demo:hello');
    await engine.beat();
    await engine.complete(await engine.claim());
    await engine.beat();
    const second = only(await engine.claim());
    await engine.complete([second]);
    const spans = await take();
    expect(new Set(spans.map((span) => span.trace_id))).toEqual(new Set([id.replaceAll('-', '')]));
    expect(edges(spans)).toEqual(
      expect.arrayContaining([
        'event demo:hello < null',
        'event step:radar:succeeded < mission',
        'reaction second < event step:radar:succeeded',
      ]),
    );
    expect(spans).toHaveLength(12);
    expect(second.traceparent).toBeNull();
    expect(await engine.port.traceContexts({ missions: [second.mission_id] })).toEqual([
      {
        mission_id: second.mission_id,
        traceparent: `00-${id.replaceAll('-', '')}-${half(second.mission_id)}-01`,
      },
    ]);
  });

  it('takes no trace from what is no context', async () => {
    for (const traceparent of [
      sender.toUpperCase(),
      `ff${sender.slice(2)}`,
      `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
      `${sender}-x`,
    ])
      await engine.port.emitEvents({ events: [{ type: 'demo:hello', traceparent }] });
    await engine.beat();
    const spans = await take();
    expect(spans).toHaveLength(4);
    for (const { trace_id, span_id, parent_span_id } of spans)
      expect([trace_id.slice(16), parent_span_id]).toEqual([span_id, null]);
  });

  it('tells failures, what was skipped and cancelled, and proposals that were turned down', async () => {
    const mission = await engine.mission([noop('fails', { max_retries: 2 }), noop('after')]);
    const other = await engine.mission([noop('waits', { priority: 9 })]);
    const rejected = await engine.port.createProposal({
      template: { title: 'no', steps: [{ kind: 'minion', params: { command: 'x' } }] },
    });
    await engine.port.rejectProposal({ id: rejected.id, actor: 'anna' });
    await engine.fail([only(await engine.claim(1))], 'retryable', canary);
    await advanceClock(engine.db.sql, '5 minutes');
    await engine.fail([only(await engine.claim(1))], 'retryable', canary);
    await engine.port.cancelMission({ id: other });
    const spans = await take();
    const of = (id: string) => spans.filter(({ attributes }) => attributes['ops.mission.id'] === id);
    expect(
      of(mission).map(({ name, error, attributes }) => [name, error, attributes['ops.step.status']]),
    ).toEqual(
      expect.arrayContaining([
        ['mission', true, undefined],
        ['step noop', true, 'failed'],
        ['step noop', false, 'skipped'],
      ]),
    );
    expect(
      of(other)
        .map(({ attributes }) => attributes['ops.step.status'] ?? attributes['ops.mission.status'])
        .sort(),
    ).toEqual(['cancelled', 'cancelled']);
    expect(spans.filter(({ name, error }) => name === 'attempt noop' && error)).toHaveLength(2);
    expect(
      spans
        .map(({ attributes }) => attributes['ops.proposal.status'])
        .filter(Boolean)
        .sort(),
    ).toEqual(['auto_approved', 'auto_approved', 'rejected']);
    expect(JSON.stringify(spans)).not.toContain(canary);
  });

  it('tells a revived step again, with the attempts since', async () => {
    const mission = await engine.mission([noop('one')]);
    const first = only(await engine.claim());
    await engine.fail([first], 'permanent');
    expect(
      (await take()).filter(({ name }) => name === 'attempt noop').map(({ span_id }) => span_id),
    ).toEqual([attemptId(first)]);
    await engine.port.retryMission({ id: mission });
    const second = only(await engine.claim());
    await engine.complete([second]);
    const spans = await take();
    expect(spans.map(({ name }) => name).sort()).toEqual(['attempt noop', 'mission', 'step noop']);
    expect(named(spans, 'attempt').span_id).toBe(attemptId(second));
    expect(named(spans, 'step')).toMatchObject({
      span_id: half(first.id),
      attributes: { 'ops.step.series': 2 },
    });
  });

  it('waits for what is open: an event, a reaction, and a transaction that may still write', async () => {
    await engine.emit('demo:early');
    await engine.beat();
    await engine.emit('demo:open');
    expect((await take()).map(({ name }) => name)).toEqual(['event demo:early']);
    await engine.beat();
    expect((await take()).map(({ name }) => name)).toEqual(['event demo:open']);

    const writer = await inTransaction(engine.db, "insert into ops_agent_events (type) values ('demo:slow')");
    await advanceClock(engine.db.sql, '3 seconds');
    await engine.port.takeSpans();
    await advanceClock(engine.db.sql, '3 seconds');
    const stuck = () => engine.db.one<{ at: Date }>('select safe_upto as at from ops_span_cursor');
    const before = await stuck();
    await engine.port.takeSpans();
    expect(await stuck(), 'its rows would be missed').toEqual(before);
    await writer.query('commit');
    await engine.beat();
    expect((await take()).map(({ name }) => name)).toEqual(['event demo:slow']);
  });

  it('cuts a backlog into pieces that neither miss nor repeat', async () => {
    await engine.port.emitEvents({ events: Array.from({ length: 25 }, (_, n) => ({ type: `demo:n${n}` })) });
    await engine.beat();
    const names = (await take(4)).map(({ name }) => name);
    expect(new Set(names).size).toBe(25);
    expect(names).toHaveLength(25);
  });

  it('reads a few pages when nothing has ended, however many events there are', async () => {
    await engine.db.sql(`insert into ops_agent_events (type, outcome, decided_at, processed_at, created_at)
      select 'demo:old', 'unmatched', now(), now(), now() - n * interval '1 second' from generate_series(1, 50000) n`);
    await engine.db.sql('vacuum ops_agent_events');
    const client = await engine.db.connect();
    const look = async (): Promise<number> => {
      const { rows } = await client.query(
        'explain (analyze, buffers, format json) select public.ops_take_spans()',
      );
      return rows[0]['QUERY PLAN'][0].Plan['Shared Hit Blocks'];
    };
    // The first one of a connection reads the catalog as well.
    await look();
    const { pages } = await engine.db.one<{ pages: number }>(
      "select pg_relation_size('ops_agent_events')::int / 8192 as pages",
    );
    expect(await look()).toBeLessThan(pages / 2);
  });

  it('gives nothing while another takes, and does not wait for it', async () => {
    await engine.emit('demo:hello');
    await engine.beat();
    await advanceClock(engine.db.sql, '3 seconds');
    await engine.port.takeSpans();
    await advanceClock(engine.db.sql, '3 seconds');
    const release = await hold(engine.db, "select pg_advisory_xact_lock(hashtext('public.ops_take_spans'))");
    expect(await engine.port.takeSpans(), 'it would be its turn').toEqual({ spans: [], more: false });
    await release();
    expect(await take()).toHaveLength(1);
  });

  it('does not send yesterday after a long silence', async () => {
    await engine.emit('demo:yesterday');
    await engine.beat();
    await advanceClock(engine.db.sql, '2 hours');
    await engine.emit('demo:today');
    await engine.beat();
    expect((await take()).map(({ name }) => name)).toEqual(['event demo:today']);
  });
});
