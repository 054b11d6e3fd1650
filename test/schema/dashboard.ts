/** The dashboard for Grafana: the alerts with their thresholds, then every metric, group by group. */
import type { AlertRule, ListedMetric } from './monitoring.js';

type Target = { expr: string; legendFormat: string };
type Panel = { title: string; description: string; unit: string; targets: Target[] };
type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Collapsed rows, in this order: title, and the names that belong there. A metric goes to the first that fits. */
const groups: [title: string, names: RegExp][] = [
  ['Heartbeats, events and proposals', /^ops_(heartbeat|event|reaction|proposal)/],
  ['Missions, steps and workers', /^ops_(mission|attempt|step|lease|worker|dead_letter)/],
  ['Models and budgets', /^ops_(llm|budget)/],
  ['The rest', /^ops_(?!alert_|schema_)/],
];
/** Panels side by side on a grid of 24 columns (grafana.com/docs, dashboard JSON model). */
const perRow = 3;
const size = { h: 8, w: 24 / perRow };

export function dashboard(rules: readonly AlertRule[], metrics: readonly ListedMetric[]): string {
  const taken = new Set<string>();
  const rows = groups.map(([title, names]) => {
    const own = metrics.filter(({ name }) => names.test(name) && !taken.has(name));
    for (const { name } of own) taken.add(name);
    return { title, panels: own.map(metricPanel) };
  });
  return toText({
    uid: 'ops-loop',
    title: 'Ops-Loop',
    tags: ['ops-loop'],
    schemaVersion: 39,
    refresh: '1m',
    time: { from: 'now-24h', to: 'now' },
    templating: {
      list: [{ name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Prometheus' }],
    },
    panels: arrange([{ title: 'Alerts', panels: [levels, ...rules.map(alertPanel)] }, ...rows]),
  });
}

const levels: Panel = {
  title: 'Level of each alert',
  description: '0 ok, 1 warning, 2 critical, under the policy alerts at that moment.',
  unit: 'short',
  targets: [{ expr: 'max by (alert) (ops_alert_level) > 0', legendFormat: '{{alert}}' }],
};

const alertPanel = ({ name, unit, title, hint }: AlertRule): Panel => ({
  title,
  description: `${name}. Look with: ${hint}`,
  unit: unitOfAlert[unit] ?? 'short',
  targets: [
    { expr: `max by (alert) (ops_alert_value{alert="${name}"})`, legendFormat: 'value' },
    { expr: `max by (level) (ops_alert_threshold{alert="${name}"})`, legendFormat: '{{level}}' },
  ],
});
const unitOfAlert: Readonly<Record<string, string>> = {
  seconds: 's',
  minutes: 'm',
  hours: 'h',
  days: 'd',
  percent: 'percent',
  usd: 'currencyUSD',
};

function metricPanel({ name, type, help }: ListedMetric): Panel {
  const expr = type === 'counter' ? `rate(${name}[5m])` : name;
  const unit = type === 'counter' ? 'cps' : name.endsWith('_seconds') ? 's' : 'short';
  return {
    title: name,
    description: type === 'counter' ? `${help} Per second.` : help,
    unit,
    targets: [{ expr, legendFormat: '__auto' }],
  };
}

/** The first row is open, the others open on a click: a closed row asks Prometheus nothing. */
function arrange(rows: { title: string; panels: Panel[] }[]): Json[] {
  let id = 0;
  let y = 0;
  const next = () => ++id;
  return rows.flatMap(({ title, panels }, index) => {
    const collapsed = index > 0;
    const row = { id: next(), type: 'row', title, collapsed, gridPos: { x: 0, y: y++, w: 24, h: 1 } };
    const placed = panels.map((panel, n) => timeSeries(panel, next(), n, y));
    if (!collapsed) y += Math.ceil(panels.length / perRow) * size.h;
    return collapsed ? [{ ...row, panels: placed }] : [{ ...row, panels: [] }, ...placed];
  });
}

function timeSeries({ title, description, unit, targets }: Panel, id: number, n: number, y: number): Json {
  return {
    id,
    type: 'timeseries',
    title,
    description,
    // The variable that `templating` offers.
    datasource: { type: 'prometheus', uid: '$datasource' },
    gridPos: { x: (n % perRow) * size.w, y: y + Math.floor(n / perRow) * size.h, ...size },
    fieldConfig: { defaults: { unit, custom: { spanNulls: true } }, overrides: [] },
    targets: targets.map((target, index) => ({ refId: 'AB'[index] ?? 'Z', ...target })),
  };
}

/** As the formatter writes it: lists of words stand on one line. */
const toText = (document: Json): string =>
  `${JSON.stringify(document, null, 2).replaceAll(/\[\n\s+("[^"\n]*")\n\s+\]/g, '[$1]')}\n`;
