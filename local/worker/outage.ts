import type { Logger } from 'pino';
import { fromDatabase } from '../../supabase/client/errors.js';
import { backoffMs } from './backoff.js';
import type { Random } from './clock.js';
import { write } from './log.js';

/**
 * Keeps count of failed calls, so that a lost database is a pause: one line when it goes, one when it is back, and a
 * wait in between that grows. Each loop has its own count; the lines are shared.
 */
export class Outage {
  readonly #log: Logger;
  readonly #random: Random;
  #away = false;

  constructor(log: Logger, random: Random) {
    this.#log = log;
    this.#random = random;
  }

  counter(): { failed(error: unknown): number; worked(): void } {
    let failures = 0;
    return {
      /** Answers how many milliseconds to wait before the next call. */
      failed: (error) => {
        this.#report(error);
        failures++;
        return backoffMs(failures, this.#random);
      },
      worked: () => {
        failures = 0;
        if (this.#away) this.#back();
      },
    };
  }

  #report(error: unknown): void {
    const { code, message, hint } = fromDatabase(error);
    // What is not the database being away is a defect or a refused grant: worth a line each time.
    if (code === 'OPS_001' && this.#away) return;
    if (code === 'OPS_001') this.#away = true;
    const event = code === 'OPS_001' ? 'database.away' : 'loop.failed';
    write(this.#log, code === 'OPS_001' ? 'warn' : 'error', { event, code, error: message, hint });
  }

  #back(): void {
    this.#away = false;
    write(this.#log, 'info', { event: 'database.back' });
  }
}

export type FailureCounter = ReturnType<Outage['counter']>;
