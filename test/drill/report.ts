/** The table of a drill: what was survived how often, how soon, and what it cost. */
import type { Strike } from './campaign.js';
import type { DrillResult } from './drill.js';

/** Milliseconds from the end of the harm until a probe had run through. */
type Times = { median: number; max: number } | null;

export type Line = {
  fault: string;
  injected: number;
  /** Struck while nothing else was wrong. */
  alone: Times;
  /** Struck with others, or upon others: the next fault falls into the recovery from the last. */
  amongOthers: Times;
  lost: number;
  invented: number;
  repeatedEffects: number;
};

export function summarise(result: DrillResult): Line[] {
  const names = [...new Set(result.strikes.map(({ fault }) => fault))].sort();
  return [
    ...names.map((name) =>
      lineOf(
        name,
        result.strikes.filter(({ fault }) => fault === name),
        result,
      ),
    ),
    { ...lineOf('all', result.strikes, result), ...totals(result) },
  ];
}

/** A loss is laid at the door of every fault that was at work, or being recovered from, when the call was made. */
function lineOf(fault: string, strikes: Strike[], result: DrillResult): Line {
  const during = (at: number) => strikes.some((s) => at >= s.from && at <= (s.recoveredAt ?? s.healedAt));
  const keys = new Set(result.calls.filter(({ at }) => during(at)).map(({ key }) => key));
  const countOf = (what: 'lost' | 'invented') =>
    [...result.events[what], ...result.proposals[what]].filter((key) => keys.has(key)).length;
  return {
    fault,
    injected: strikes.length,
    alone: timesOf(strikes.filter(({ alone }) => alone)),
    amongOthers: timesOf(strikes.filter(({ alone }) => !alone)),
    lost: countOf('lost'),
    invented: countOf('invented'),
    repeatedEffects: result.effects.repeated.filter(({ at }) => during(at)).length,
  };
}

const totals = ({
  events,
  proposals,
  effects,
}: DrillResult): Pick<Line, 'lost' | 'invented' | 'repeatedEffects'> => ({
  lost: events.lost.length + proposals.lost.length,
  invented: events.invented.length + proposals.invented.length,
  repeatedEffects: effects.repeated.length,
});

function timesOf(strikes: Strike[]): Times {
  const times = strikes.flatMap(({ healedAt, recoveredAt }) =>
    recoveredAt === undefined ? [] : [recoveredAt - healedAt],
  );
  if (times.length === 0) return null;
  times.sort((a, b) => a - b);
  const middle =
    (times[Math.floor((times.length - 1) / 2)] ?? 0) + (times[Math.floor(times.length / 2)] ?? 0);
  return { median: middle / 2, max: times.at(-1) ?? 0 };
}

const seconds = (times: Times): string =>
  times === null ? '' : `${(times.median / 1_000).toFixed(1)}, ${(times.max / 1_000).toFixed(1)}`;

/** A table in Markdown, aligned, so that it reads the same on a terminal and in a page. */
export function renderTable(lines: Line[]): string {
  const head = [
    'fault',
    'times',
    'alone: median, max s',
    'among others',
    'lost',
    'invented',
    'repeated effects',
  ];
  const rows = lines.map(({ fault, injected, alone, amongOthers, lost, invented, repeatedEffects }) =>
    [fault, injected, seconds(alone), seconds(amongOthers), lost, invented, repeatedEffects].map(String),
  );
  const widths = head.map((title, n) => Math.max(title.length, ...rows.map((row) => row[n]?.length ?? 0)));
  const line = (cells: string[]) =>
    `| ${cells.map((cell, n) => (n === 0 ? cell.padEnd(widths[n] ?? 0) : cell.padStart(widths[n] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, n) => (n === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

/** Sentences below the table. */
export function renderSums({
  events,
  proposals,
  effects,
  steps,
  deadLetters,
  drainedInMs,
  violations,
  logged,
}: DrillResult): string {
  const entries = (record: Record<string, number>) =>
    Object.entries(record)
      .map(([what, n]) => `${what} ${n}`)
      .join(', ') || 'none';
  return [
    `events: ${events.attempted} sent, ${events.acknowledged} acknowledged, ${events.recovered} stored without an answer, ${events.lost.length} lost, ${events.invented.length} invented, ${events.duplicated.length} made twice`,
    `proposals: ${proposals.attempted} sent, ${proposals.acknowledged} acknowledged, ${proposals.recovered} stored without an answer, ${proposals.lost.length} lost, ${proposals.invented.length} invented, ${proposals.duplicated.length} made twice`,
    `effects: ${effects.effects}, ${effects.repeated.length} repeated under the same key by idempotent executors, ${effects.forbidden.length} by others`,
    `steps: ${entries(steps)}; dead letters: ${entries(deadLetters)}`,
    `workers logged: ${entries(logged)}`,
    `drained in ${drainedInMs === undefined ? 'vain' : `${(drainedInMs / 1_000).toFixed(1)} s`}; ${violations.length} violation(s)`,
    ...violations.map((violation) => `  ${violation}`),
  ].join('\n');
}
