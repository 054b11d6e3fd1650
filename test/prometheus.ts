/**
 * `npm run test:prometheus`: docs/monitoring with the real Prometheus and Alertmanager, where they are installed
 * (Debian: `apt-get install prometheus prometheus-alertmanager`): a scrape of a real app over a real database, the
 * rules, and one alert that fires and is resolved, delivered into `/api/ops/webhooks/alertmanager`. Ends by itself.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readMetrics } from './schema/monitoring.js';
import { startTestCluster, temporaryDirectory } from './support/cluster.js';
import { missingPrograms, openChildren } from './support/prometheus/programs.js';
import { monitoring, openRoom, type Room, startPrograms } from './support/prometheus/room.js';
import { until } from './support/until.js';

/** Beyond all that the checks wait for one after another. */
const mostMs = 240_000;
const say = (line: string): void => void process.stdout.write(`${line}\n`);

let failed = 0;
async function check(what: string, holds: () => unknown): Promise<void> {
  const startedAt = performance.now();
  const problem = await Promise.resolve()
    .then(holds)
    .then(
      () => undefined,
      (error: unknown) => error,
    );
  const took = ((performance.now() - startedAt) / 1_000).toFixed(1);
  say(`${problem === undefined ? 'held  ' : 'FAILED'} ${what} (${took} s)`);
  if (problem === undefined) return;
  failed++;
  say(problem instanceof Error ? problem.message : String(problem));
}

const get = async (url: string): Promise<Record<string, unknown>> => {
  const response = await fetch(url);
  assert.equal(response.status, 200, `${url} answered ${response.status}`);
  return (await response.json()) as Record<string, unknown>;
};
const answers = (url: string): Promise<boolean> =>
  fetch(url).then(
    ({ ok }) => ok,
    () => false,
  );
const run = (program: string, ...args: string[]) => execFileSync(program, args, { stdio: 'pipe' });

/** The only complaint there may be: this counter has the name that runbooks know. */
const known = /^ops_worker_claims counter metrics should have "_total" suffix$/;

async function checkFormats({ home, url, key }: Room): Promise<void> {
  await check('promtool finds no fault in the rules and in the example', () => {
    run('promtool', 'check', 'rules', join(monitoring, 'prometheus-rules.yml'));
    run('promtool', 'check', 'config', join(home, 'prometheus.yml'));
  });
  await check('amtool finds no fault in the example', () =>
    run('amtool', 'check-config', join(home, 'alertmanager.yml')),
  );
  await check('promtool finds no fault in the metrics', async () => {
    const response = await fetch(`${url}/api/ops/metrics`, { headers: { Authorization: `Bearer ${key}` } });
    const { stderr, stdout } = spawnSync('promtool', ['check', 'metrics'], {
      input: await response.text(),
      encoding: 'utf8',
    });
    const faults = `${stdout}${stderr}`.split('\n').filter((line) => line !== '' && !known.test(line));
    assert.deepEqual(faults, []);
  });
}

async function checkScrape({ prometheus, sql }: Room): Promise<void> {
  const query = (expr: string) =>
    get(`${prometheus.url}/api/v1/query?query=${encodeURIComponent(expr)}`) as Promise<{
      status: string;
      data: { result: unknown[] };
    }>;
  await check('Prometheus scrapes with the key of a viewer', () =>
    until(async () => (await query('up{job="ops-loop"} == 1')).data.result.length === 1, {
      what: 'a scrape that succeeds',
      deadlineMs: 30_000,
    }),
  );
  await check('it has what the database has, and no other metric of ours', async () => {
    const there = await sql<{ name: string }>('select distinct name from ops_metrics()');
    const { data } = await get(`${prometheus.url}/api/v1/label/__name__/values`);
    const names = (data as string[]).filter((name) => name.startsWith('ops_'));
    const listed = (await readMetrics(sql)).map(({ name }) => name);
    assert.deepEqual(
      there.map(({ name }) => name).filter((name) => !names.includes(name)),
      [],
    );
    assert.deepEqual(
      names.filter((name) => !listed.includes(name)),
      [],
    );
  });
  await check('every panel of the dashboard asks what Prometheus understands', async () => {
    const text = readFileSync(join(monitoring, 'grafana-dashboard.json'), 'utf8');
    const exprs = [...text.matchAll(/"expr": ("(?:[^"\\]|\\.)*")/g)].map(
      ([, expr = '']) => JSON.parse(expr) as string,
    );
    assert(exprs.length > 50);
    for (const expr of exprs) assert.equal((await query(expr)).status, 'success');
  });
}

async function checkDelivery({ database, sql, alertmanager }: Room): Promise<void> {
  const arrived = (status: string) =>
    until(
      async () => {
        const rows = await sql<{ data: { labels: { severity: string }; annotations: { summary: string } } }>(
          "select data from ops_agent_events where type = $1 and data #>> '{labels,alertname}' = 'OpsLoopBackupAge'",
          [`alertmanager:${status}`],
        );
        return rows.length === 1 && rows[0];
      },
      { what: `one event alertmanager:${status}`, deadlineMs: 60_000 },
    );
  await check('an alert of the loop fires in Prometheus and comes back as an event', async () => {
    // Named by the policy, a backup that nobody takes is critical.
    await database.port.setPolicy({ key: 'alerts', value: { rules: { backup_age: {} } } });
    const { data } = await arrived('firing');
    assert.equal(data.labels.severity, 'critical');
    assert.equal(data.annotations.summary, 'Age of the latest backup');
  });
  await check('and so does its end', async () => {
    await database.port.recordBackup();
    await arrived('resolved');
  });
  await check('Alertmanager failed to deliver nothing', async () => {
    const text = await (await fetch(`${alertmanager.url}/metrics`)).text();
    const failures =
      text.match(/^alertmanager_notifications_failed_total\{.*integration="webhook".*\} .+$/gm) ?? [];
    assert(failures.length > 0 && failures.every((line) => line.endsWith(' 0')));
  });
}

async function main(): Promise<void> {
  const home = await temporaryDirectory('prometheus');
  const cluster = await startTestCluster();
  const room = await openRoom(home, cluster.url);
  const children = openChildren(say);
  try {
    await checkFormats(room);
    startPrograms(room, children);
    await check('Prometheus and Alertmanager are ready', async () => {
      for (const { url } of [room.prometheus, room.alertmanager])
        await until(() => answers(`${url}/-/ready`), { what: `${url} is ready`, deadlineMs: 60_000 });
    });
    await checkScrape(room);
    await checkDelivery(room);
  } finally {
    await children.stop();
    await room.close();
    await cluster.stop();
    rmSync(home, { recursive: true, force: true });
  }
  say(failed === 0 ? 'everything held' : `${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

const missing = missingPrograms();
if (missing.length > 0)
  say(
    `skipped: ${missing.join(', ')} not installed (Debian: apt-get install prometheus prometheus-alertmanager)`,
  );
else {
  setTimeout(() => {
    say(`FAILED: not done within ${mostMs / 1_000} s`);
    process.exit(1);
  }, mostMs).unref();
  await main();
}
