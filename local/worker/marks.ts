/**
 * Where a claim starts to look. While somebody holds an old snapshot (a dump, a report), what was claimed since stays in
 * the index of the queue, and every claim from its head walks over all of it. So after a look from the head that took
 * long, the next ones start where the last one found its first step, until the head is due again. A look from the head
 * is at most a twentieth of the time that way, and where it is quick, there are no marks.
 */
import type { ClaimMarks } from '../../supabase/client/schemas/inputs.js';
import type { ClaimedStep } from '../../supabase/client/schemas/rows.js';

/** How much longer than it took a look from the head is good for. */
const share = 20;
/** Longest time without one: what is more urgent than the last step waits no longer. */
const longestMs = 5_000;

export class Marks {
  #marks: ClaimMarks = {};
  #headAt = Number.NEGATIVE_INFINITY;

  /** What to send with the next claim; null looks from the head. */
  at(now: number): ClaimMarks | null {
    return now < this.#headAt && Object.keys(this.#marks).length > 0 ? { ...this.#marks } : null;
  }

  /** Rows come in the order of the queue: the first of an executor is its mark. */
  found(steps: readonly ClaimedStep[]): void {
    const first: ClaimMarks = {};
    for (const { executor, priority, ready_at } of steps) first[executor] ??= { priority, ready_at };
    this.#marks = { ...this.#marks, ...first };
  }

  /** A look from the head has come back. */
  looked(startedAt: number, now: number): void {
    this.#headAt = now + Math.min(longestMs, share * (now - startedAt));
  }
}
