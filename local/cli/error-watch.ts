/** Error tracking of the commands that stay up: what their log calls an error, what they throw, and what ends them. */
import { createErrorReports } from '../../supabase/client/error-reports.js';
import { fromDatabase, OpsError } from '../../supabase/client/errors.js';
import type { Environment } from '../env.js';
import { packageVersion } from '../version.js';
import type { Context } from './context.js';

export type ErrorWatch = {
  report(thrown: unknown, where: string): Promise<void>;
  /** Is shown the fields of log lines of level error. */
  onErrorLine(fields: unknown): void;
};

/** Undefined without `SENTRY_DSN`. Reports that are on their way leave before the command ends. */
export function watchErrors(
  { atEnd, atFailure }: Context,
  env: Environment,
  command: string,
): ErrorWatch | undefined {
  const { SENTRY_DSN: dsn, OPS_ENVIRONMENT: environment } = env;
  const reports = createErrorReports({ dsn, environment, release: packageVersion() });
  if (reports === undefined) return undefined;
  const die = async (error: unknown): Promise<void> => {
    await reports.report(error, `${command}: uncaught`);
    await reports.flush();
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    process.exit(1);
  };
  const onUncaught = (error: unknown): void => void die(error);
  process.once('uncaughtException', onUncaught);
  atFailure((thrown) => reports.report(thrown, command));
  atEnd(async () => {
    process.off('uncaughtException', onUncaught);
    await reports.flush();
  });
  return { report: reports.report, onErrorLine: (fields) => reportLine(fields, reports.report) };
}

/** The lines of loops that fail for a reason of our own; what steps and operators do wrong is not ours. */
const reported = new Set(['loop.failed', 'heartbeat.failed']);

function reportLine(fields: unknown, report: ErrorWatch['report']): void {
  const { event, code, err } = Object(fields) as Record<string, unknown>;
  if (typeof event !== 'string' || !reported.has(event) || code === 'OPS_001') return;
  const isOurs = err instanceof Error && fromDatabase(err).code === 'OPS_018';
  // Their text may quote anything; the event's name and the code are our own words.
  const error = isOurs ? err : new OpsError('OPS_018', event);
  void report(error, `${event} ${typeof code === 'string' ? code : ''}`.trim());
}
