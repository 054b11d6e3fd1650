/** What an attempt's end means for its step. Pure: no I/O, no clock. */
import { z } from 'zod';
import { OpsError } from '../../supabase/client/errors.js';
import type { StepFailure } from '../../supabase/client/schemas/inputs.js';
import { type Executor, StepError, type StepEvent } from '../executors/contract.js';
import { type Json, NotJson, storable, toJson } from '../executors/json.js';
import type { Ending } from './attempt.js';

export type Failure = Omit<StepFailure, 'step_id' | 'lease_epoch' | 'meta'>;
export type Outcome =
  | { kind: 'complete'; result: Json; events: StepEvent[] }
  | { kind: 'fail'; failure: Failure }
  /** Given back with no attempt counted. */
  | { kind: 'release' }
  /** The lease is gone: nothing may be written. */
  | { kind: 'none' };

export type Written = Exclude<Outcome, { kind: 'none' }>;

/** Enough for a message and the top of an output; the log has the rest. */
const maxErrorChars = 4_000;

/** The parsed parameters. Throws a permanent `StepError`: the same parameters will not fit next time either. */
export function parseParams(executor: Executor, params: unknown): unknown {
  const parsed = executor.params.safeParse(params);
  if (parsed.success) return parsed.data;
  throw permanent(
    `the parameters do not fit ${executor.name}: ${z.prettifyError(parsed.error)}`,
    'InvalidParams',
  );
}

/** The result as JSON that can be stored. Throws a permanent `StepError`. */
export function parseResult(executor: Executor, value: unknown): Json {
  if (executor.result === undefined) return value === undefined ? null : jsonResult(executor, value);
  const parsed = executor.result.safeParse(value);
  if (parsed.success) return jsonResult(executor, parsed.data);
  throw permanent(
    `the result of ${executor.name} does not fit its schema: ${z.prettifyError(parsed.error)}`,
    'InvalidResult',
  );
}

function jsonResult(executor: Executor, value: unknown): Json {
  try {
    return toJson(value);
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    throw permanent(`the result of ${executor.name} cannot be stored: ${error.message}`, 'InvalidResult');
  }
}

const permanent = (message: string, errorClass: string) =>
  new StepError(message, { outcome: 'permanent', errorClass });

/** The executor returned. After a timeout or a cancel its result comes too late; otherwise done is done. */
export function afterReturn(
  executor: Executor,
  value: unknown,
  events: StepEvent[],
  ending: Ending | undefined,
): Outcome {
  if (ending === 'lost' || ending === 'timed_out' || ending === 'cancelled')
    return interrupted(executor, ending);
  try {
    return { kind: 'complete', result: parseResult(executor, value), events };
  } catch (error) {
    return { kind: 'fail', failure: classify(error) };
  }
}

/** What a dry run leaves instead of a result: who would have been called with what. */
export function dryRun({ executor, params }: { executor: string; params: Record<string, Json> }): Outcome {
  return { kind: 'complete', result: { dry_run: true, executor, params }, events: [] };
}

/** The executor threw, by itself or because its signal was aborted. */
export function afterThrow(executor: Executor, error: unknown, ending: Ending | undefined): Outcome {
  if (ending === undefined) return { kind: 'fail', failure: classify(error) };
  const outcome = interrupted(executor, ending);
  // An executor that names its outcome knows how far it came.
  const knows =
    outcome.kind === 'fail' && outcome.failure.outcome === 'unknown' && error instanceof StepError;
  return knows ? { kind: 'fail', failure: classify(error) } : outcome;
}

/** What ending it from outside means when the executor has nothing to say. */
export function interrupted(executor: Executor, ending: Ending): Outcome {
  switch (ending) {
    case 'lost':
      return { kind: 'none' };
    case 'cancelled':
      return failure('cancelled', 'cancelled while it ran', 'Cancelled');
    case 'timed_out':
      return failure('timed_out', 'it ran longer than its timeout', 'TimedOut');
    default:
      if (executor.traits.idempotent) return { kind: 'release' };
      return failure(
        'unknown',
        `ended while it ran (${ending}); nobody knows how far it came`,
        'Interrupted',
      );
  }
}

/** Ended before its executor was called: nothing has happened, so it can be given back whatever its executor is. */
export function neverStarted(ending: Ending): Outcome {
  if (ending === 'lost') return { kind: 'none' };
  if (ending === 'cancelled') return failure('cancelled', 'cancelled before it started', 'Cancelled');
  return { kind: 'release' };
}

const failure = (outcome: Failure['outcome'], error: string, errorClass: string): Outcome => ({
  kind: 'fail',
  failure: { outcome, error, error_class: errorClass },
});

/** The taxonomy: `StepError` says what it is, everything else is worth another try. */
export function classify(error: unknown): Failure {
  const text = storable(errorText(error).slice(0, maxErrorChars));
  if (!(error instanceof StepError))
    return { outcome: 'retryable', error: text, error_class: errorClass(error) };
  const { outcome, retryAfterSeconds } = error;
  const wait =
    retryAfterSeconds !== undefined && Number.isFinite(retryAfterSeconds) && retryAfterSeconds >= 0;
  return {
    outcome,
    error: text,
    error_class: error.errorClass,
    ...(wait && { retry_after_seconds: retryAfterSeconds }),
  };
}

function errorText(error: unknown): string {
  if (!(error instanceof Error)) return `the executor threw ${String(error)}`;
  const because = error.cause instanceof Error && !error.message.includes(error.cause.message);
  const text = because ? `${error.message}: ${(error.cause as Error).message}` : error.message;
  return text === '' ? error.name : text;
}

function errorClass(error: unknown): string {
  if (error instanceof OpsError) return error.code;
  return error instanceof Error ? error.name : typeof error;
}
