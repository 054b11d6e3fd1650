/** What programs came to, so that a suite whose commands do nothing any more is noticed. */
import type { Model } from './model.js';

export class Reached {
  readonly counts = new Map<string, number>();

  note({ last, done }: Model): void {
    const { events, proposals, missions, steps, attempts, letters } = last.tables;
    for (const { outcome } of events) this.#add(`event ${outcome}`);
    for (const { status } of proposals) this.#add(`proposal ${status}`);
    for (const { status } of missions) this.#add(`mission ${status}`);
    for (const { status, series } of steps)
      this.#add(`step ${status}`, ...(series > 1 ? ['step revived'] : []));
    for (const { status } of attempts) this.#add(`attempt ${status}`);
    for (const { cause, state } of letters) this.#add(`letter ${cause}`, `letter ${state}`);
    for (const [what, n] of done) this.counts.set(what, (this.counts.get(what) ?? 0) + n);
  }

  #add(...what: string[]): void {
    for (const one of what) this.counts.set(one, (this.counts.get(one) ?? 0) + 1);
  }
}
