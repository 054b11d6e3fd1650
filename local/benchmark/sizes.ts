/** How much of everything is measured. `quick` only shows that every measure works: its figures mean nothing. */
export type Sizes = {
  bareRows: number;
  steps: number;
  missions: number;
  events: number;
  singles: number;
  pings: number;
  pollPings: number;
  reactivePings: number;
  beats: number;
  /** Rows beside which the claim is looked at, one table after the other. */
  finished: readonly number[];
  scheduled: number;
  foreign: number;
  passing: number;
  idleSeconds: number;
  ingestSeconds: number;
};

export const fullSizes: Sizes = {
  bareRows: 40_000,
  steps: 20_000,
  missions: 6_000,
  events: 10_000,
  singles: 1_000,
  pings: 200,
  pollPings: 12,
  reactivePings: 100,
  beats: 50,
  finished: [0, 100_000, 1_000_000],
  scheduled: 200_000,
  foreign: 100_000,
  passing: 200_000,
  idleSeconds: 20,
  ingestSeconds: 10,
};

export const quickSizes: Sizes = {
  bareRows: 400,
  steps: 200,
  missions: 40,
  events: 200,
  singles: 10,
  pings: 5,
  pollPings: 1,
  reactivePings: 5,
  beats: 3,
  finished: [0, 500, 1_000],
  scheduled: 200,
  foreign: 200,
  passing: 500,
  idleSeconds: 0.5,
  ingestSeconds: 0.2,
};
