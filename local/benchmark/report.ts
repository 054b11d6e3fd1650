/** A report for people: rows of the table, the Markdown of docs/benchmarks.md, and what moved since a baseline. */
import type { Machine, Report, Result } from './figure.js';

export const columns = ['measure', 'value', 'unit', 'of bare', 'bound', ''] as const;

export const shown = (value: number | null): string =>
  value === null ? 'n/a' : value.toLocaleString('en', { maximumSignificantDigits: 6 });

export function cellsOf({ name, value, unit, of_bare, bound, met }: Result): string[] {
  const verdict = met === null ? '' : met ? 'met' : 'MISSED';
  return [name, shown(value), unit, of_bare === null ? '' : of_bare.toFixed(2), bound ?? '', verdict];
}

export const machineLine = ({ cores, cpu, memory_gb, node, postgres }: Machine): string =>
  `${cores} cores (${cpu}), ${memory_gb} GB, Node ${node}, PostgreSQL ${postgres}`;

export const aboutLine = ({ machine, rounds, quick, measured_at }: Report): string =>
  `Measured on ${measured_at.slice(0, 10)}: ${machineLine(machine)}, median of ${rounds} ${rounds === 1 ? 'round' : 'rounds'}${quick ? ', at toy sizes: these figures mean nothing' : ''}.`;

export function markdownOf(report: Report): string {
  const head = '| measure | value | unit | of bare | bound | |\n|---|---:|---|---:|---|---|';
  const rows = report.results.map((result) => `| ${cellsOf(result).join(' | ')} |`);
  return [aboutLine(report), '', head, ...rows].join('\n');
}

/** Less than this is what two runs of one version differ by on a shared machine. */
export const noise = 0.15;

export type Move = { name: string; before: number; after: number; change: number; ratio: boolean };

/**
 * What moved by more than the noise. Rates are compared by their ratio to the bare limit of their own run, so that a
 * slower hour of the machine is not taken for a slower engine.
 */
export function compare(baseline: Report, current: Report): Move[] {
  const before = new Map(baseline.results.map((result) => [result.name, result]));
  return current.results.flatMap((result) => {
    const old = before.get(result.name);
    const move = old === undefined ? undefined : moveOf(old, result);
    return move !== undefined && Math.abs(move.change) > noise ? [move] : [];
  });
}

function moveOf(old: Result, now: Result): Move | undefined {
  const ratio = old.of_bare !== null && now.of_bare !== null;
  const [before, after] = ratio ? [old.of_bare, now.of_bare] : [old.value, now.value];
  if (before === null || after === null || before === undefined || after === undefined || before === 0)
    return undefined;
  return { name: now.name, before, after, change: after / before - 1, ratio };
}

export function moveLine({ name, before, after, change, ratio }: Move): string {
  const percent = `${change > 0 ? '+' : ''}${Math.round(change * 100)} %`;
  return `${percent.padStart(7)}  ${name}: ${shown(before)} → ${shown(after)}${ratio ? ' of bare' : ''}`;
}
