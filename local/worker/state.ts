/** The life of a worker. Every legal move is in this table; any other is a defect and throws. */
import { OpsError } from '../../supabase/client/errors.js';

export const workerStates = ['starting', 'running', 'draining', 'stopping', 'stopped'] as const;
export type WorkerState = (typeof workerStates)[number];

export const transitions: Readonly<Record<WorkerState, readonly WorkerState[]>> = {
  /** Waits for the database and for its name. */
  starting: ['running', 'stopped'],
  /** Claims and runs. */
  running: ['draining', 'stopping'],
  /** Claims nothing; what runs may finish. */
  draining: ['stopping'],
  /** What still ran is aborted; outcomes are written. */
  stopping: ['stopped'],
  stopped: [],
};

export class Lifecycle {
  #state: WorkerState = 'starting';

  get state(): WorkerState {
    return this.#state;
  }

  /** Throws `OPS_018` for a move that is not in the table. */
  to(next: WorkerState): void {
    if (!transitions[this.#state].includes(next))
      throw new OpsError('OPS_018', `a worker cannot go from ${this.#state} to ${next}`);
    this.#state = next;
  }
}
