/** `ops-loop status` for people. */
import type { OpsPort } from '../../supabase/client/port.js';
import type { Health, Status } from '../../supabase/client/schemas/rows.js';
import { paintStatus } from './colours.js';
import { type Output, oneLine, table } from './output.js';
import { relativeTime, span } from './times.js';

const counted = [
  'events',
  'reactions',
  'proposals',
  'missions',
  'steps',
  'dry_runs',
  'attempts',
  'dead_letters',
  'radar',
] as const;

type Proposal = Awaited<ReturnType<OpsPort['listWaiting']>>[number];
export type StatusView = { status: Status; health: Health; waiting: Proposal[] };

export function renderStatus({ status, health, waiting }: StatusView, out: Output): string {
  return [
    healthLines(health, out),
    countLines(status, out),
    proposalLines(waiting, health.pending_proposals, out),
    waitingLines(status, out),
    switchLines(status, out),
    latencyTable(status, 'from → to, last hour', out),
    workerLines(status, out),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

function healthLines({ status, last_beat_at, problems }: Health, { paint, now }: Output): string {
  const first = `${paintStatus(paint, status)}  last heartbeat ${relativeTime(last_beat_at, now())}`;
  return [first, ...problems.map((problem) => `  ${problem}`)].join('\n');
}

function countLines(status: Status, { paint }: Output): string {
  const rows = counted.flatMap((name) => {
    const counts = Object.entries(status[name]).filter(([, count]) => count > 0);
    if (name === 'dry_runs' && counts.length === 0) return [];
    const said = counts.map(([state, count]) => `${count} ${paintStatus(paint, state)}`).join('  ');
    return [[name.replace('_', ' '), said === '' ? paint('dim', 'none') : said]];
  });
  return table(['what', 'by status'], rows, paint);
}

function proposalLines(proposals: Proposal[], total: number, { paint, now }: Output): string {
  if (proposals.length === 0) return '';
  const rows = proposals.map(({ id, created_at, expires_at, title, reason }) => [
    id,
    relativeTime(created_at, now()),
    relativeTime(expires_at, now()),
    oneLine(title ?? 'untitled', 50),
    oneLine(reason ?? 'not gated yet', 60),
  ]);
  const answer = paint('dim', 'answer with `npm run approve -- <id>` or `npm run reject -- <id>`');
  const more = total - proposals.length;
  const lines = [table(['waiting proposal', 'since', 'expires', 'title', 'reason'], rows, paint), answer];
  return lines.toSpliced(1, 0, ...(more > 0 ? [paint('dim', `and ${more} more`)] : [])).join('\n');
}

function waitingLines({ waiting }: Status, { paint }: Output): string {
  const rows = Object.entries(waiting).map(([reason, count]) => [count, reason]);
  return rows.length === 0 ? '' : table([{ name: 'steps', align: 'right' }, 'wait for'], rows, paint);
}

function switchLines({ switches }: Status, { paint }: Output): string {
  const rows = Object.entries(switches).map(([scope, mode]) => [
    scope,
    typeof mode === 'string' ? mode : JSON.stringify(mode),
  ]);
  return rows.length === 0 ? '' : table(['paused', 'how'], rows, paint);
}

/** Empty when nothing was measured. */
export function latencyTable({ latencies }: Status, title: string, { paint }: Pick<Output, 'paint'>): string {
  const rows = Object.entries(latencies)
    .filter(([, { samples }]) => samples > 0)
    .map(([name, { p50_ms, p95_ms, samples }]) => [
      name.replaceAll('_', ' '),
      span(p50_ms),
      span(p95_ms),
      samples,
    ]);
  const right = (name: string) => ({ name, align: 'right' as const });
  return rows.length === 0 ? '' : table([title, right('p50'), right('p95'), right('samples')], rows, paint);
}

function workerLines({ workers }: Status, { paint, now }: Output): string {
  if (workers.length === 0) return 'no worker is running';
  const rows = workers.map(({ name, host, seen_at, running, executors }) => [
    name,
    host,
    running,
    relativeTime(seen_at, now()),
    executors.join(' '),
  ]);
  return table(['worker', 'host', { name: 'running', align: 'right' }, 'seen', 'executors'], rows, paint);
}
