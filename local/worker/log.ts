import type { Level, Logger } from 'pino';

/** Every event that the worker logs; dashboards and alerts may rely on these names. */
export const logEvents = [
  'worker.started',
  'worker.draining',
  'worker.stopped',
  'worker.reloaded',
  'worker.taken_over',
  'worker.refused',
  'worker.replaced',
  'strays.ended',
  'database.away',
  'database.back',
  'listen.lost',
  'listen.ready',
  'lease.claimed',
  'lease.lost',
  'lease.released',
  'lease.recovered',
  'lease.distrusted',
  'attempt.started',
  'attempt.progress',
  'attempt.succeeded',
  'attempt.failed',
  'attempt.interrupted',
  'attempt.given_up',
  'attempt.late',
  'step.dead_lettered',
  'writeback.refused',
  'writeback.dropped',
  'heartbeat.beat',
  'model.reset',
  'model.report_failed',
  'trace.dropped',
  'trace.failed',
  'loop.failed',
] as const;
export type LogEvent = (typeof logEvents)[number];

export type LogLine = { event: LogEvent; [field: string]: unknown };

/** Writes one line. On hot paths ask `log.isLevelEnabled` first: building the line is what costs. */
export function write(log: Logger, level: Level, line: LogLine): void {
  log[level](line);
}
