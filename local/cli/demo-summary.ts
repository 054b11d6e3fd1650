/** What `ops-loop demo` tells a person at its end. */
import type { DemoReport } from '../demo/demo.js';
import type { DemoFacts } from '../demo/facts.js';
import { paintStatus } from './colours.js';
import { type Output, oneLine, table } from './output.js';
import { latencyTable } from './status-view.js';
import { span } from './times.js';
import { drawTrace } from './trace-tree.js';

export function renderReport({ facts, checks, duration_ms }: DemoReport, { paint }: Output): string {
  const failed = checks.filter(({ ok }) => !ok).length;
  const verdict =
    failed === 0
      ? paint('green', `all ${checks.length} expectations met in ${span(duration_ms)}`)
      : paint('red', `${failed} of ${checks.length} expectations not met`);
  const sections = { ...storyOf(facts, paint), Checked: checkLines(checks, paint) };
  return [...Object.entries(sections).map(([title, body]) => section(title, body, paint)), verdict].join(
    '\n\n',
  );
}

/** Title and body of each section, in their order. */
const storyOf = (facts: DemoFacts, paint: Paint): Record<string, string> => ({
  Deliveries: deliveryLine(facts),
  'What became of it': countTable(facts, paint),
  'How fast': latencyTable(facts.status, 'from → to', { paint }),
  'Approved by a person': counted(facts.approved.map(({ title, mission }) => `${title}: mission ${mission}`)),
  'Roles at work, with a stand-in for the model': [
    ...facts.roles,
    `cost: $${facts.spent.usd.toFixed(4)}, $${facts.spent.remaining.toFixed(2)} left today`,
  ].join('\n'),
  'Dead letters': facts.deadLetters
    .map((d) => `${d.executor}, ${d.cause}: ${oneLine(d.last_error ?? '', 80)}`)
    .join('\n'),
  'Demand radar': facts.radar.map((s) => `${s.stage}, ${s.mentions} ×: ${oneLine(s.title, 80)}`).join('\n'),
  'One event, from delivery to its last attempt':
    facts.trace === undefined ? '' : drawTrace(facts.trace, paint),
});

type Paint = Output['paint'];

const section = (title: string, body: string, paint: Paint): string =>
  `${paint('bold', title)}\n${(body === '' ? 'none' : body).replace(/^/gm, '  ')}`;

function deliveryLine({ delivered }: DemoFacts): string {
  const { stored, sameDelivery, sameBody, refused } = delivered;
  const sent = stored + sameDelivery + sameBody + refused + delivered.failures.length;
  return (
    `${sent} signed webhooks over HTTP: ${stored} stored, ` +
    `${sameDelivery} duplicates by delivery id, ${sameBody} by body, ${refused} refused for its signature`
  );
}

const statusKinds = ['events', 'proposals', 'missions', 'steps', 'attempts', 'dead_letters'] as const;

function countTable({ status }: DemoFacts, paint: Paint): string {
  const rows = statusKinds.map((name) => {
    const counts = Object.entries(status[name]).filter(([, count]) => count > 0);
    return [
      name.replace('_', ' '),
      counts.map(([state, count]) => `${count} ${paintStatus(paint, state)}`).join('  '),
    ];
  });
  return table(['what', 'by status'], rows, paint);
}

const checkLines = (checks: DemoReport['checks'], paint: Paint): string =>
  checks
    .map(({ what, ok, found }) =>
      ok ? `${paint('green', 'ok')}      ${what}` : `${paint('red', 'failed')}  ${what} (found: ${found})`,
    )
    .join('\n');

/** Equal lines once, with how often. */
function counted(lines: string[]): string {
  const times = new Map<string, number>();
  for (const line of lines) times.set(line, (times.get(line) ?? 0) + 1);
  return [...times].map(([line, count]) => `${count} ×  ${line}`).join('\n');
}
