import { OpsError } from '../../supabase/client/errors.js';
import type { ClaimedStep } from '../../supabase/client/schemas/rows.js';
import type { Executor } from '../executors/contract.js';

/** Why the worker ends an attempt before its executor does. */
export type Ending = 'lost' | 'cancelled' | 'halted' | 'timed_out' | 'shutdown';

const nothingToLeave = (): void => {};

const endings: Record<Ending, string> = {
  lost: 'the lease was lost; another worker may have this step',
  cancelled: 'the mission was cancelled',
  halted: 'a switch halted this step',
  timed_out: 'the step ran longer than its timeout',
  shutdown: 'the worker is shutting down',
};

/**
 * One try at a step, from claim to write-back. It has one abort signal for all reasons, made when somebody asks
 * for it: most executors that finish at once never do.
 */
export class Attempt {
  readonly step: ClaimedStep;
  readonly executor: Executor;
  readonly claimedAt: number;
  /** Until then, by the worker's clock, nobody else can hold this step. Renewal moves it. */
  trustedUntil: number;
  /** When the step times out, by the worker's clock; set at the start. */
  deadline = Number.POSITIVE_INFINITY;
  started = false;
  /** Its outcome is decided: whatever the executor does from here on is ignored. */
  settled = false;
  ending: Ending | undefined;
  endedAt = 0;
  /** Gives the slot back. */
  leave: () => void = nothingToLeave;
  #controller: AbortController | undefined;

  constructor(step: ClaimedStep, executor: Executor, claimedAt: number, trustedUntil: number) {
    this.step = step;
    this.executor = executor;
    this.claimedAt = claimedAt;
    this.trustedUntil = trustedUntil;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.ending !== undefined) this.#controller.abort(abortReason(this.ending));
    }
    return this.#controller.signal;
  }

  /** Aborts the signal. The first reason stands, but a lost lease overrides: then nothing may be written. */
  end(reason: Ending, now: number): boolean {
    if (this.ending !== undefined && reason !== 'lost') return false;
    if (this.ending === undefined) this.endedAt = now;
    this.ending = reason;
    this.#controller?.abort(abortReason(reason));
    return true;
  }
}

function abortReason(ending: Ending): OpsError {
  const code = ending === 'lost' ? 'OPS_006' : 'OPS_007';
  return new OpsError(code, endings[ending], { detail: { ending } });
}
