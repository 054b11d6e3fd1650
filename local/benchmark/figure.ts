/** What a measure answers, and what it is held against. */
import { type Bound, bounds } from './bounds.js';

/** `value` is null where this machine cannot say it, such as the server's processor time of a server elsewhere. */
export type Figure = { name: string; value: number | null; unit: string };

/** Over the rounds: the median, and how many rounds had a value. */
export type Result = Figure & {
  samples: number;
  /** Share of the bare limit of the same run, for rates of steps and missions. */
  of_bare: number | null;
  bound: string | null;
  met: boolean | null;
};

export type Machine = {
  cores: number;
  cpu: string;
  memory_gb: number;
  node: string;
  postgres: string;
};

export type Report = {
  measured_at: string;
  machine: Machine;
  rounds: number;
  quick: boolean;
  results: Result[];
};

/** The bare limit's figure: every rate stands beside it. */
export const bareName = 'bare claim and finish, batches of 100';

const rated = new Set(['rows/s', 'steps/s', 'missions/s']);

/** Medians of what the rounds gave, in the order of the first one, judged. */
export function summarize(rounds: Figure[][]): Result[] {
  const all = rounds.flat();
  const names = [...new Set(all.map(({ name }) => name))];
  const medians = names.map((name) => medianOf(all.filter((figure) => figure.name === name)));
  const bare = medians.find(({ name }) => name === bareName)?.value ?? null;
  return medians.map((result) => judge({ ...result, of_bare: shareOf(bare, result) }));
}

export function median(values: number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return low === undefined || high === undefined ? null : (low + high) / 2;
}

/** The value below which that share of the sorted values lies (nearest rank). */
export function quantile(values: number[], share: number): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? null;
}

/** Three digits that count are all that a measurement of this kind carries; whole numbers above a thousand. */
export const rounded = (value: number): number =>
  Math.abs(value) >= 1_000 ? Math.round(value) : Number(value.toPrecision(3));

export const perSecond = (count: number, ms: number): number => (count / ms) * 1_000;

function medianOf(figures: Figure[]): Result {
  const values = figures.flatMap(({ value }) => (value === null ? [] : [value]));
  const middle = median(values);
  const { name = '', unit = '' } = figures[0] ?? {};
  const value = middle === null ? null : rounded(middle);
  return { name, value, unit, samples: values.length, of_bare: null, bound: null, met: null };
}

function shareOf(bare: number | null, { value, unit }: Figure): number | null {
  return bare === null || value === null || !rated.has(unit) ? null : Number((value / bare).toPrecision(2));
}

function judge(result: Result): Result {
  const mine = bounds.filter(({ figure }) => figure === result.name);
  const verdicts = mine.map((bound) => isMet(bound, result)).filter((met) => met !== undefined);
  return {
    ...result,
    bound: mine.length === 0 ? null : mine.map(boundText).join(', '),
    met: verdicts.length === 0 ? null : verdicts.every(Boolean),
  };
}

function isMet({ of, least, most }: Bound, { value, of_bare }: Result): boolean | undefined {
  const held = of === 'bare' ? of_bare : value;
  if (held === null) return undefined;
  return (least === undefined || held >= least) && (most === undefined || held <= most);
}

function boundText({ of, least, most }: Bound): string {
  const text = least === undefined ? `≤ ${most?.toLocaleString('en')}` : `≥ ${least.toLocaleString('en')}`;
  return of === 'bare' ? `${text} of bare` : text;
}
