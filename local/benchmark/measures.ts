/** Everything that is measured, in the order of the table. */
import { bareLimit } from './measures/bare.js';
import { heartbeats } from './measures/beat.js';
import { claims } from './measures/claims.js';
import { drains } from './measures/drain.js';
import { idleWorker } from './measures/idle.js';
import { ingest } from './measures/ingest.js';
import { intake } from './measures/intake.js';
import { latencies } from './measures/latency.js';
import type { Measure } from './measures/measure.js';

export const measures: Measure[] = [
  bareLimit,
  ...drains,
  intake,
  ...latencies,
  ...heartbeats,
  ...claims,
  idleWorker,
  ingest,
];
