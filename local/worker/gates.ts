/**
 * Named places where a test may hold the worker, throw, or kill it. In production `hold` is undefined and a gate is
 * one comparison.
 */
export type GateName =
  /** Steps were claimed, none has started. */
  | 'claimed'
  /** Before the executor is called. */
  | 'running'
  /** The executor has returned; nothing is written yet. */
  | 'ran'
  /** Outcomes are about to be sent. */
  | 'writing'
  /** A renewal is about to be sent. */
  | 'renewing'
  /** Outcomes are stored; the worker has not taken note yet. */
  | 'written';

export const gates: { hold?: ((name: GateName) => Promise<void> | void) | undefined } = {};
