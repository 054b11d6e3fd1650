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

  /** What to send with a claim for these executors; null looks from the head, as it does when none of them has a mark. */
  at(now: number, executors: readonly string[]): ClaimMarks | null {
    if (now >= this.#headAt) return null;
    const own = executors.flatMap((name) => {
      const mark = this.#marks[name];
      return mark === undefined ? [] : [[name, mark] as const];
    });
    return own.length === 0 ? null : Object.fromEntries(own);
  }

  /** Rows come in the order of the queue: the first of an executor is its mark. */
  found(steps: readonly ClaimedStep[]): void {
    const first: ClaimMarks = {};
    for (const { executor, priority, ready_at } of steps) first[executor] ??= { priority, ready_at };
    this.#marks = { ...this.#marks, ...first };
  }

  /** A look from the head has come back. A quick one, for other executors, takes nothing from a slow one. */
  looked(startedAt: number, now: number): void {
    this.#headAt = Math.max(this.#headAt, now + Math.min(longestMs, share * (now - startedAt)));
  }
}
