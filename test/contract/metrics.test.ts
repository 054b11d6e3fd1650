/** What a Prometheus server reads: well-formed, complete, right, and without a word that came with an event. */
import { beforeAll, describe, expect, it } from 'vitest';
import { setClock } from '../support/clock.js';
import { until } from '../support/until.js';
import { apiKey, bearer, bodyOf, delivery, githubSecret, json } from '../unit/http-app.js';
import { type Instance, useDoors } from './door-kit.js';

const doors = useDoors();
let here: Instance;
let viewer: Record<string, string>;
beforeAll(async () => {
  here = doors.instance();
  viewer = bearer(await doors.key('prometheus', 'viewer'));
});

type Sample = { name: string; labels: Record<string, string>; value: number };
type Exposition = { types: Map<string, string>; helps: Map<string, string>; samples: Sample[] };

const scrape = (): Promise<Response> =>
  Promise.resolve(here.app.request('/api/ops/metrics', { headers: viewer }));

/** Strict: a line that is neither comment nor sample fails (format 0.0.4). Go, and so Prometheus, reads `Nan` in any case. */
function parse(text: string): Exposition {
  const found: Exposition = { types: new Map(), helps: new Map(), samples: [] };
  expect(text.endsWith('\n')).toBe(true);
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const comment = /^# (TYPE|HELP) ([a-z_]+) (.+)$/.exec(line);
    const sample = /^([a-z_]+)(?:\{(.*)\})? (Nan|[+-]?[\d.]+(?:e[+-]\d+)?)$/.exec(line);
    if (comment !== null)
      (comment[1] === 'TYPE' ? found.types : found.helps).set(comment[2] ?? '', comment[3] ?? '');
    else if (sample !== null)
      found.samples.push({
        name: sample[1] ?? '',
        labels: labelsOf(sample[2] ?? ''),
        value: Number(sample[3]),
      });
    else throw new Error(`not a line of the format: ${line}`);
  }
  return found;
}

function labelsOf(text: string): Record<string, string> {
  const pairs = [...text.matchAll(/([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/g)];
  expect(pairs.map(([whole]) => whole).join('')).toBe(text);
  return Object.fromEntries(pairs.map(([, name = '', value = '']) => [name, value]));
}

const reading = async (name: string, labels: Record<string, string> = {}): Promise<number | undefined> => {
  const { samples } = parse(await (await scrape()).text());
  return samples.find(
    (sample) =>
      sample.name === name &&
      Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  )?.value;
};

describe('GET /api/ops/metrics', () => {
  it('answers the text format, each metric with its type and its help, and no sample twice', async () => {
    const response = await scrape();
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const { types, helps, samples } = parse(await response.text());
    const listed = await doors.db.sql('select name, type, help from ops_metric_list()');
    const known = new Map(listed.map(({ name, type, help }) => [name, { type, help }]));
    for (const [name, type] of types) expect({ type, help: helps.get(name) }).toEqual(known.get(name));
    expect(new Set(samples.map(({ name }) => name))).toEqual(new Set(types.keys()));
    const series = samples.map(({ name, labels }) => JSON.stringify([name, Object.entries(labels).sort()]));
    expect(new Set(series).size).toBe(series.length);
  });

  it('has every metric once there is something to say of each', async () => {
    const { port, db } = doors;
    await setClock(db.sql, { shift: '0' });
    await port.setPolicy({
      key: 'auto_approve',
      value: { enabled: true, allowed_step_kinds: ['noop'], max_risk_level: 'critical' },
    });
    await port.setPolicy({ key: 'budgets', value: { global: { runs_per_day: 100 } } });
    await port.setPolicy({ key: 'worker_policy', value: { executors: { noop: { max_running: 1 } } } });
    await port.registerWorker({ name: 'w', instance: crypto.randomUUID(), host: 'h', pid: 1, executors: [] });
    await db.sql('select ops_report_llm($1, $2)', ['w', JSON.stringify([llm])]);
    await port.emitEvent({ type: 'demo:hello', data: { name: 'Ada' } });
    await port.heartbeat({ source: 'cron' });
    const template = {
      title: 'many',
      steps: ['a', 'b', 'c'].map((key) => ({ key, kind: 'noop', depends_on: [] })),
    };
    await port.createProposal({ template });
    const claimed = await port.claimSteps({ worker: 'w', executors: ['noop'], limit: 1 });
    const results = claimed.map(({ id, lease_epoch }) => ({ step_id: id, lease_epoch, result: {} }));
    await port.completeSteps({ worker: 'w', results });
    await port.claimSteps({ worker: 'w', executors: ['noop'], limit: 5 });
    await port.claimSteps({ worker: 'w', executors: ['noop'], limit: 5 });
    await db.sql(
      "insert into ops_rates (bucket, used, ends_at) values ('webhook:lab', 2, ops_clock() + interval '1 hour')",
    );
    await port.recordBackup();
    await port.createProposal({ template });
    await port.pause({ scope: 'executor:http' });
    const { types } = parse(await (await scrape()).text());
    const listed = await db.sql<{ name: string }>('select name from ops_metric_list()');
    expect(listed.map(({ name }) => name).filter((name) => !types.has(name))).toEqual([]);
  });

  it('says how it is', async () => {
    const { port, db } = doors;
    expect(await reading('ops_heartbeat_success')).toBe(1);
    expect(await reading('ops_steps_running', { executor: 'noop' })).toBe(1);
    expect(await reading('ops_switch', { scope: 'executor:http', mode: 'drain' })).toBe(1);
    expect(await reading('ops_llm_latency_seconds', { provider: 'openai', percentile: '95' })).toBe(7);
    expect(await reading('ops_alert_threshold', { alert: 'queued_steps', level: 'critical' })).toBe(500);
    expect(await reading('ops_alert_value', { alert: 'mission_success' })).toBeNaN();
    await port.recordBeatFailure({ source: 'cron', error: 'it broke' });
    expect(await reading('ops_heartbeat_success')).toBe(0);
    const { queued } = await db.one(
      "select count(*)::int as queued from ops_mission_steps where status = 'queued'",
    );
    expect((await reading('ops_steps_queued', { executor: 'noop' })) ?? 0).toBe(queued);
  });

  it('tells the age of a key to the second', async () => {
    const { db } = doors;
    await doors.key('aged', 'viewer');
    await db.sql(
      "update ops_api_keys set created_at = ops_clock() - interval '1 hour 3 minutes' where label = 'aged'",
    );
    const age = (await reading('ops_key_age_seconds', { key: 'aged' })) ?? 0;
    expect(age).toBeGreaterThanOrEqual(3_780);
    expect(age).toBeLessThan(3_840);
  });

  it('counts what the server counts: claims, events, dead letters', async () => {
    const { db } = doors;
    const { claims } = await db.one('select count(*)::int as claims from ops_action_runs');
    // A connection reports what it has counted after a second, or when it rests.
    await until(async () => ((await reading('ops_worker_claims')) ?? 0) >= Number(claims), {
      what: 'the server has counted the claims',
    });
    await until(async () => ((await reading('ops_events_total')) ?? 0) > 0, { what: 'and the events' });
  });

  it('counts deliveries that were refused, of sources that are set up', async () => {
    const send = (source: string, init: RequestInit) => here.app.request(`/api/ops/webhooks/${source}`, init);
    const forged = { 'X-Hub-Signature-256': `sha256=${'0'.repeat(64)}` };
    for (const _ of [1, 2]) expect((await send('github', delivery('{"a":1}', forged))).status).toBe(401);
    expect((await send('nobody', json({ a: 1 }))).status).toBe(404);
    expect((await send('made-up', json({ a: 1 }, bearer('x'.repeat(40))))).status).toBe(401);
    expect((await send('github', delivery('{"a":1}'))).status).toBe(202);
    expect(await reading('ops_webhook_refusals', { source: 'github' })).toBe(2);
    const text = await (await scrape()).text();
    expect(text).not.toMatch(/source="(nobody|made-up)"/);
  });
});

const llm = {
  provider: 'openai',
  state: 'closed',
  failures: 0,
  calls: 30,
  failed_calls: 1,
  latency_p50_ms: 900,
  latency_p95_ms: 7_000,
  last_success_ms_ago: 0,
  reset_done: 0,
};

describe('GET /api/ops/alerts', () => {
  it('answers every alert, the worst first, at 200 whatever the level', async () => {
    const response = await here.app.request('/api/ops/alerts', { headers: viewer });
    expect(response.status).toBe(200);
    const { level, alerts } = await bodyOf(response);
    expect(level).toBe('warning');
    expect(alerts[0]).toMatchObject({
      name: 'llm_latency',
      level: 'warning',
      value: 7,
      sentence:
        'Time a model takes to answer (95th percentile): 7 s (provider openai at w), warning from 5 s.',
      hint: 'ops-loop llm health',
    });
    expect(alerts).toHaveLength(19);
  });
});

it('no secret, and nothing that came with an event, is in metrics or alerts', async () => {
  const { port, db } = doors;
  const canary = 'canary-4711';
  await port.emitEvent({ type: 'demo:hello', data: { name: canary }, dedupeKey: canary });
  await port.setPolicy({
    key: 'worker_policy',
    value: { executors: { noop: { per_key: { param: 'echo', max_running: 1 } } } },
  });
  const template = {
    title: canary,
    steps: ['a', 'b', 'c', 'd', 'e'].map((key) => ({
      key,
      kind: 'noop',
      params: { echo: canary },
      depends_on: [],
      on_failure: 'continue',
    })),
  };
  await port.createProposal({ template, proposedBy: canary });
  for (const _ of [1, 2]) {
    const claimed = await port.claimSteps({ worker: 'w', executors: ['noop'], limit: 2 });
    const failures = claimed.map(({ id, lease_epoch }) => ({
      step_id: id,
      lease_epoch,
      outcome: 'permanent' as const,
      error: canary,
    }));
    await port.failSteps({ worker: 'w', failures: failures.slice(0, 1) });
  }
  await port.claimSteps({ worker: 'w', executors: ['noop'], limit: 5 });
  await port.recordBeatFailure({ source: 'cron', error: canary });
  await port.recordBackup({ backup: { note: canary } });
  await db.sql('select ops_raise_alerts(true)');
  const alerts = await here.app.request('/api/ops/alerts', { headers: viewer });
  const texts = `${await (await scrape()).text()}${await alerts.text()}`;
  for (const secret of [canary, apiKey, githubSecret, viewer.Authorization?.slice('Bearer '.length) ?? ''])
    expect(texts).not.toContain(secret);
  // What holds a step under a key names the value: only the sort is told.
  expect(texts).toContain('ops_steps_held{reason="limit"}');
});
