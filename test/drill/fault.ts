import type { Arena } from './arena.js';
import type { Dice } from './random.js';

export type Fault = {
  name: string;
  /** For the table: what is done, in a few words. */
  what: string;
  /**
   * Does the harm, waits as long as it lasts, and undoes it. Answers what has to come true, besides a probe's
   * success, before things count as recovered.
   */
  strike(arena: Arena, dice: Dice): Promise<Condition | undefined>;
  /** When struck alone, recovery from the end of the harm may take this long. */
  boundMs: number;
};

/** Something to ask until it is true. */
export type Condition = () => Promise<boolean>;

/** A database that is back has work going on again within this time (the project's own bar). */
export const databaseBoundMs = 30_000;

/** How long a fault waits for an answer through the proxy: longer than the longest silence and what follows it. */
export const answerBoundMs = 100_000;
