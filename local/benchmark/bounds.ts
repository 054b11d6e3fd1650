/**
 * The bars: what each figure must reach on two cores of a small server. One table, so that benchmark, page and
 * tests cannot disagree. `of: 'bare'` holds the ratio to the bare limit of the same run instead of the figure itself.
 */
export type Bound = {
  figure: string;
  of?: 'bare';
  least?: number;
  most?: number;
  /** Where the number comes from. */
  source: string;
};

const contract = 'the bars that this project set itself before it was written';
const throughputAim = `${contract}: above the fastest library with durable workflows by an order of magnitude`;

export const bounds: Bound[] = [
  { figure: 'no-op steps, default settings', least: 10_000, source: throughputAim },
  { figure: 'no-op steps, concurrency 1,000', least: 15_000, source: throughputAim },
  { figure: 'no-op steps, concurrency 1,000', of: 'bare', least: 0.3, source: throughputAim },
  {
    figure: 'missions of 3 steps with stored results',
    least: 3_850,
    source: '10 times DBOS 5.3.0 (385/s here)',
  },
  { figure: 'bulk emit', least: 50_000, source: contract },
  { figure: 'bulk propose', least: 5_000, source: contract },
  { figure: 'pick-up by LISTEN, p50', most: 2, source: contract },
  { figure: 'pick-up by LISTEN, p99', most: 8, source: contract },
  {
    figure: 'pick-up by polling, longest',
    most: 2_500,
    source: 'the poll of an idle worker: 2 s and its look',
  },
  { figure: 'event to executor, reactive, p50', most: 10, source: contract },
  { figure: 'event to executor, reactive, p99', most: 40, source: contract },
  { figure: 'heartbeat, 50 patterns with a condition, 1 % fires', least: 20_000, source: contract },
  { figure: 'heartbeat, all fire to missions', least: 2_000, source: contract },
  { figure: 'idle beat', most: 50, source: contract },
  { figure: 'beat over HTTP, p95', most: 1_000, source: contract },
  { figure: 'claim of 50 beside 1 M finished, select', most: 4, source: contract },
  { figure: 'claim of 50 beside 1 M finished, whole', most: 40, source: contract },
  { figure: 'claim of 50 beside 1 M finished, against an empty table', most: 1.2, source: contract },
  { figure: 'claim of 50 under a held snapshot', most: 5, source: `${contract}, after 200,000 steps` },
  { figure: 'idle worker with a live LISTEN', most: 1, source: contract },
  { figure: 'ingest of webhooks at 200 requests/s, p99', most: 50, source: contract },
];
