/**
 * When to look for work again.
 *
 * While looks find something, at once. When one finds nothing, the worker raises its flag in the database (whoever
 * makes work ready then takes it down and notifies), looks again at once, and after about 5, 20 and 80 ms, because
 * a transaction that was under way may not have seen the flag. Then it waits: for a notification, for its own
 * completions, for the time the next step is due, or for the poll, which alone makes sure that nothing is missed.
 */
import type { OpsPort } from '../../supabase/client/port.js';
import { Bell } from './bell.js';
import type { Look } from './claimer.js';
import { type Clock, jittered, nextTurn, type Random } from './clock.js';
import type { FailureCounter } from './outage.js';

/** Longest wait without and with a live LISTEN. */
export const pollMs = { alone: 2_000, listening: 10_000 } as const;
/** Share of a wait that is random, so that idle workers do not poll in step. */
const jitter = 0.25;
/** Waits between the looks after the first one under the flag. */
const looksAfterMs = [5, 20, 80] as const;
/** Shortest wait for a due step; doubles while the step turns out not to be claimable. Clocks may differ. */
const minDueMs = 20;
/** Timers may fire a millisecond early, and the database counts in microseconds. */
const dueSlackMs = 2;

/** Wait after the n-th empty look under the flag, from 1. */
export function idleWaitMs(emptyLooks: number, listening: boolean, random: Random): number {
  const soon = looksAfterMs[emptyLooks - 1];
  if (soon !== undefined) return jittered(soon, jitter, random);
  const longest = listening ? pollMs.listening : pollMs.alone;
  return longest * (1 - jitter * random());
}

/** Wait until a step is due, if that is sooner than the poll. */
export function dueWaitMs(dueInMs: number | undefined, misses: number, idleMs: number): number {
  if (dueInMs === undefined) return idleMs;
  return Math.min(idleMs, Math.max(dueInMs + dueSlackMs, minDueMs * 2 ** Math.min(misses, 10)));
}

export type WakeupDeps = {
  port: Pick<OpsPort, 'workerIdle'>;
  clock: Clock;
  random: Random;
  worker: string;
  executors: readonly string[];
  outage: FailureCounter;
  isListening: () => boolean;
  /** Outcomes are on their way: what follows from them is not ready yet. */
  isWriting: () => boolean;
  onIdle: () => void;
};

export class Wakeup {
  readonly #deps: WakeupDeps;
  readonly #bell = new Bell();
  /** Our flag is up, as far as we know. */
  #flagged = false;
  #emptyLooks = 0;
  #dueMisses = 0;
  #dueAt: number | undefined;
  /** How far our clock is ahead of the database's, as last heard. */
  #aheadMs = 0;

  constructor(deps: WakeupDeps) {
    this.#deps = deps;
  }

  /** Something changed on our side: a slot is free, outcomes are stored, trust is back, we stop. */
  ring(): void {
    this.#bell.ring();
  }

  /** The database says there is work: our flag is down. */
  notify(): void {
    this.#foundWork();
    this.#bell.ring();
  }

  /** A step that we failed is due then, by the database's clock. */
  due(at: string): void {
    this.#dueAt = Math.min(this.#dueAt ?? Number.POSITIVE_INFINITY, Date.parse(at));
  }

  /** Waits as long as makes sense after this look. Never throws. */
  async after(look: Look): Promise<void> {
    const { clock } = this.#deps;
    if (look.kind === 'away') return void (await this.#bell.wait(clock, look.waitMs));
    if (look.kind === 'blocked') {
      await this.#bell.wait(clock, pollMs.alone);
      return await nextTurn(clock);
    }
    if (look.kind === 'empty') return await this.#idle();
    this.#foundWork();
    this.#dueMisses = 0;
    // Executors that finish within this turn give their slots back before the next claim counts them.
    await nextTurn(clock);
  }

  async #idle(): Promise<void> {
    const { clock, isListening, random, isWriting, onIdle } = this.#deps;
    if (!this.#flagged) {
      if (isWriting()) return void (await this.#bell.wait(clock, pollMs.alone));
      return await this.#raiseFlag();
    }
    onIdle();
    const idleMs = idleWaitMs(++this.#emptyLooks, isListening(), random);
    const rang = await this.#bell.wait(clock, dueWaitMs(this.#dueInMs(), this.#dueMisses, idleMs));
    if (rang) return await nextTurn(clock);
    // The next look is a poll: it asks again what is due, and puts the flag up should it have been lost.
    if (this.#emptyLooks > looksAfterMs.length) this.#flagged = false;
    this.#missDue();
  }

  #foundWork(): void {
    this.#flagged = false;
    this.#emptyLooks = 0;
  }

  /** Counts on until something is claimed: a step that is due by our clock may not be by the database's. */
  #missDue(): void {
    if ((this.#dueInMs() ?? 1) > 0) return;
    this.#dueMisses++;
    this.#dueAt = undefined;
    this.#flagged = false;
  }

  #dueInMs(): number | undefined {
    return this.#dueAt === undefined ? undefined : this.#dueAt + this.#aheadMs - this.#deps.clock.wall();
  }

  async #raiseFlag(): Promise<void> {
    const { port, worker, executors, outage, clock } = this.#deps;
    this.#flagged = true;
    try {
      const { now, next_due_at } = await port.workerIdle({ worker, executors: [...executors] });
      this.#aheadMs = clock.wall() - Date.parse(now);
      outage.worked();
      if (next_due_at !== null) this.due(next_due_at);
    } catch (error) {
      this.#flagged = false;
      await this.#bell.wait(clock, outage.failed(error));
    }
  }
}
