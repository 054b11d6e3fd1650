/** How much runs at once: the worker's concurrency over all, and each executor's own local limit within it. */
import pLimit, { type LimitFunction } from 'p-limit';
import type { Executor } from '../executors/contract.js';

/** What to ask the engine for: steps of these executors, at most so many. */
export type Ask = { executors: string[]; limit: number };

export class Slots {
  readonly #concurrency: number;
  readonly #unlimited: string[] = [];
  readonly #limits = new Map<string, LimitFunction>();
  #taken = 0;

  constructor(concurrency: number, executors: Iterable<Executor>) {
    this.#concurrency = concurrency;
    for (const { name, traits } of executors) {
      if (traits.localLimit == null) this.#unlimited.push(name);
      else this.#limits.set(name, pLimit(traits.localLimit));
    }
  }

  get taken(): number {
    return this.#taken;
  }

  get free(): number {
    return this.#concurrency - this.#taken;
  }

  freeOf(executor: string): number {
    const limit = this.#limits.get(executor);
    return limit === undefined
      ? this.free
      : Math.min(this.free, limit.concurrency - limit.activeCount - limit.pendingCount);
  }

  /** Takes a slot; `body` starts as soon as the executor's limit allows and calls `leave` once when it is done. */
  enter(executor: string, body: (leave: () => void) => void): void {
    this.#taken++;
    const limit = this.#limits.get(executor);
    if (limit === undefined) body(this.#leave);
    else void limit(() => new Promise<void>(body)).then(this.#leave);
  }

  readonly #leave = (): void => {
    this.#taken--;
  };

  /**
   * What to ask for next. Executors with a local limit are asked for apart, and for no more than the fullest of
   * them can take, so that nothing is claimed only to wait here. While there is little to do, one question for `all`;
   * `unlimited` leaves those with a limit out.
   */
  asks(scope: 'all' | 'each' | 'unlimited'): Ask[] {
    const free = this.free;
    if (free <= 0) return [];
    const open = [...this.#limits.keys()].filter((name) => this.freeOf(name) > 0);
    const room = Math.min(...open.map((name) => this.freeOf(name)));
    if (open.length === 0 || scope === 'unlimited') return this.#ask(this.#unlimited, free);
    if (scope === 'all') return this.#ask([...this.#unlimited, ...open], room);
    return [...this.#ask(this.#unlimited, free), ...this.#ask(open, room)];
  }

  #ask(executors: string[], limit: number): Ask[] {
    return executors.length === 0 ? [] : [{ executors, limit }];
  }
}
