import type { Clock } from './clock.js';

/** Wakes the one that waits. A ring while nobody waits is kept for the next wait; many rings are one. */
export class Bell {
  #rung = false;
  #wake: (() => void) | undefined;

  ring(): void {
    if (this.#wake === undefined) this.#rung = true;
    else this.#wake();
  }

  /** True when it rang, false when the time was up first. */
  wait(clock: Clock, delayMs: number): Promise<boolean> {
    if (this.#rung) {
      this.#rung = false;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const answer = (rang: boolean) => {
        cancel();
        this.#wake = undefined;
        resolve(rang);
      };
      const cancel = clock.after(delayMs, () => answer(false));
      this.#wake = () => answer(true);
    });
  }
}

/** Opens for everybody who waits, whenever its condition comes true; closes behind them. */
export class Latch {
  #waiters: (() => void)[] = [];

  open(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }

  /** True when it opened, false when the time was up first. */
  wait(clock: Clock, delayMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = clock.after(delayMs, () => resolve(false));
      this.#waiters.push(() => {
        cancel();
        resolve(true);
      });
    });
  }
}
