/** docs/metrics.md and docs/monitoring against the database: every alert, every metric, every rule, both ways. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { createProgram } from '../../local/cli/program.js';
import { projectRoot } from '../../local/env.js';
import {
  type AlertRule,
  alertName,
  type ListedMetric,
  monitoringFiles,
  readMetrics,
  readRules,
} from '../schema/monitoring.js';
import { useDatabase } from '../support/database.js';

const db = useDatabase();
const read = (file: string): string => readFileSync(join(projectRoot, 'docs', file), 'utf8');
const page = read('metrics.md');
const cells = (line: string): string[] =>
  line.split(' | ').map((cell) => cell.replace(/^\| |\s*\|$|`/g, '').replaceAll('`', ''));
const rowsWith = (first: RegExp): string[][] =>
  page
    .split('\n')
    .filter((line) => first.test(line))
    .map(cells);

let rules: AlertRule[];
let metrics: ListedMetric[];
beforeAll(async () => {
  rules = await readRules(db.sql);
  metrics = await readMetrics(db.sql);
});

const bound = (threshold: number | null): string => (threshold === null ? '-' : String(threshold));

describe('docs/metrics.md', () => {
  test('lists every alert with its unit and thresholds, and no other', () => {
    const listed = rowsWith(/^\| `[a-z_]+` \| .+ \| .+ \| [\d.-]+ \| [\d.-]+ \| (rate|number) \|$/);
    expect(listed.map(([name, , ...rest]) => [name, ...rest])).toEqual(
      rules.map(({ name, unit, below, warning, critical, sampled }) => [
        name,
        below ? `${unit}, below` : unit,
        bound(warning),
        bound(critical),
        sampled ? 'rate' : 'number',
      ]),
    );
  });

  test('lists every metric with its type and what it says, and no other', () => {
    const listed = rowsWith(/^\| `ops_[a-z_]+` \| (counter|gauge) \|/);
    expect(listed.map(([name, type, , help]) => ({ name, type, help }))).toEqual(metrics);
  });

  test('lists the labels that the metrics have', async () => {
    const there = await db.sql<{ name: string; labels: string[] }>(
      'select name, array(select jsonb_object_keys(labels) order by 1) as labels from ops_metrics() group by 1, 2',
    );
    const listed = new Map(rowsWith(/^\| `ops_[a-z_]+` \|/).map(([name, , labels = '']) => [name, labels]));
    expect(there.length).toBeGreaterThan(20);
    for (const { name, labels } of there)
      expect([name, listed.get(name)]).toEqual([name, labels.length === 0 ? '-' : labels.join(', ')]);
  });
});

describe('docs/monitoring', () => {
  test('rules and dashboard are what `npm run generate` writes', async () => {
    for (const [path, text] of await monitoringFiles(db.sql))
      expect(readFileSync(path, 'utf8') === text, `${path} is stale: run \`npm run generate\``).toBe(true);
  });

  test('has a rule for both levels of every alert', () => {
    const named = [...read('monitoring/prometheus-rules.yml').matchAll(/- alert: (\w+)\n/g)].map(
      ([, name]) => name,
    );
    expect(named).toEqual([
      'OpsLoopUnreachable',
      ...rules.flatMap(({ name }) => [alertName(name), alertName(name)]),
    ]);
  });

  test('asks for no metric that is not there', () => {
    const known = new Set(metrics.map(({ name }) => name));
    // Hints name tables, too: only what is asked of Prometheus counts.
    const exprs = ['prometheus-rules.yml', 'grafana-dashboard.json'].flatMap(
      (file) => read(`monitoring/${file}`).match(/^ +"?expr"?: .+$/gm) ?? [],
    );
    expect(exprs.length).toBeGreaterThan(80);
    const asked = exprs.flatMap((expr) => expr.match(/\bops_[a-z_]+/g) ?? []);
    expect([...new Set(asked)].filter((name) => !known.has(name))).toEqual([]);
  });

  test('shows every metric and every alert on the dashboard, each panel under an id of its own', () => {
    const text = read('monitoring/grafana-dashboard.json');
    for (const { name } of metrics.filter(({ name }) => name !== 'ops_schema_info'))
      expect(text).toContain(name);
    for (const { name } of rules) expect(text).toContain(`ops_alert_value{alert=\\"${name}\\"}`);
    const ids = [...text.matchAll(/"id": (\d+)/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('the examples name the routes that there are', () => {
    expect(read('monitoring/prometheus.yml')).toContain('metrics_path: /api/ops/metrics');
    expect(read('monitoring/alertmanager.yml')).toContain('/api/ops/webhooks/alertmanager');
  });
});

const known = (await createProgram()).commands.map((command) => command.name());

describe('the hint of an alert', () => {
  test('is a command that exists, or SQL that runs', async () => {
    for (const { hint } of rules) {
      const command = /^ops-loop ([a-z-]+)/.exec(hint)?.[1];
      if (command === undefined) await db.sql(hint);
      else expect(known).toContain(command);
    }
  });
});
