/**
 * Simulation over any span: pages of `ops_simulate`, added up. Every page is a transaction of its own, so a month of
 * events never holds one open.
 */
import type { SimulationPage } from './calls/simulation.js';
import type { OpsPort } from './port.js';

/** Differences that are kept for people to look at; all of them are counted. */
const shown = 100;

export type SimulationOptions = Pick<
  NonNullable<Parameters<OpsPort['simulate']>[0]>,
  'drafts' | 'since' | 'until' | 'events'
> & {
  /** Events in a page. Default 2,000. */
  pageSize?: number;
  /** Told after each page, with the events seen so far. */
  onPage?(events: number): void;
  signal?: AbortSignal;
};

export type Simulation = Omit<SimulationPage, 'cursor' | 'more'>;

/** Simulates page by page. Throws `OPS_008` for a draft that could not become active, and the signal's reason. */
export async function simulate(port: OpsPort, options: SimulationOptions): Promise<Simulation> {
  const { pageSize = 2_000, onPage, signal, ...asked } = options;
  let sum: Simulation | undefined;
  let cursor: SimulationPage['cursor'] = null;
  do {
    signal?.throwIfAborted();
    const {
      cursor: next,
      more: _,
      ...page
    } = await port.simulate({
      ...asked,
      limit: pageSize,
      ...(cursor !== null && { cursor }),
    });
    sum = sum === undefined ? page : add(sum, page);
    cursor = next;
    onPage?.(sum.events);
  } while (cursor !== null);
  return sum;
}

function add(a: Simulation, b: Simulation): Simulation {
  return {
    ...a,
    events: a.events + b.events,
    live: addSides(a.live, b.live),
    draft: addSides(a.draft, b.draft),
    differences: addDifferences(a.differences, b.differences),
    recorded: a.recorded === null || b.recorded === null ? null : addDifferences(a.recorded, b.recorded),
    decisions: null,
  };
}

type Side = Simulation['live'];

function addSides({ patterns: a, ...one }: Side, { patterns: b, ...other }: Side): Side {
  const ids = new Set([...Object.keys(a), ...Object.keys(b)]);
  return {
    ...addCounts(one, other),
    patterns: Object.fromEntries([...ids].map((id) => [id, addCounts(a[id] ?? {}, b[id] ?? {})])),
  };
}

function addCounts<T extends { [name: string]: number }>(a: T, b: T): T {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return Object.fromEntries([...names].map((name) => [name, (a[name] ?? 0) + (b[name] ?? 0)])) as T;
}

type Differences<F> = { count: number; starts: number; stops: number; first: F[] };

function addDifferences<F>(a: Differences<F>, b: Differences<F>): Differences<F> {
  return {
    count: a.count + b.count,
    starts: a.starts + b.starts,
    stops: a.stops + b.stops,
    first: [...a.first, ...b.first].slice(0, shown),
  };
}
