/** Time as the worker sees it. Passed in, so that tests move it. */
export type Cancel = () => void;

export type Clock = {
  /** Milliseconds of a clock that never goes back. All leases, deadlines and waits are measured by it. */
  now(): number;
  /** Milliseconds since 1970, only to compare with times that the database named; may be off by any amount. */
  wall(): number;
  after(delayMs: number, run: () => void): Cancel;
  /** After everything that is ready now has had its turn. */
  soon(run: () => void): void;
};

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
  soon: (run) => {
    setImmediate(run);
  },
};

/** A number in [0, 1). */
export type Random = () => number;

/** The delay with a share of up to ±`share` at random, so that many processes do not move in step. */
export const jittered = (delayMs: number, share: number, random: Random): number =>
  delayMs * (1 + share * (2 * random() - 1));

export const nextTurn = (clock: Clock): Promise<void> => new Promise((resolve) => clock.soon(resolve));

/** Calls `tick`, waits, and again; a tick must not throw. Stops when the answer is called. */
export function repeat(clock: Clock, delayMs: () => number, tick: () => Promise<unknown>): Cancel {
  let stopped = false;
  let cancel: Cancel = () => {};
  const arm = () => {
    if (!stopped) cancel = clock.after(delayMs(), () => void tick().finally(arm));
  };
  arm();
  return () => {
    stopped = true;
    cancel();
  };
}
