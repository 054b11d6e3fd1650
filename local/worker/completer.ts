/**
 * Writes outcomes back in batches. Sending one twice is safe: the engine records it once and says "held" both times. When nothing is under way a flush goes at once, so that one step does not wait;
 * under load the outcomes gather until a flush returns, 250 are together, or 25 ms have passed. While the database
 * is away they are kept and tried again, each for as long as its lease is trusted.
 */
import type { Logger } from 'pino';
import { fromDatabase } from '../../supabase/client/errors.js';
import type { FailureWriteBack, WriteBack } from '../../supabase/client/schemas/rows.js';
import type { Json } from '../executors/json.js';
import type { Attempt } from './attempt.js';
import { Latch } from './bell.js';
import type { Cancel, Clock } from './clock.js';
import { gates } from './gates.js';
import { write } from './log.js';
import type { FailureCounter } from './outage.js';
import type { Written } from './outcome.js';
import type { Send } from './write-back.js';

/** Measured: batches of 100 to 250 are the fastest; 25 ms is below what anybody notices (facts, queues 5.5). */
export const batchSize = 250;
export const gatherMs = 25;
const maxInFlight = 2;
/** Claims pause above this many unwritten outcomes. */
export const backPressure = 1_000;

export type Item = {
  attempt: Attempt;
  outcome: Written;
  meta: Record<string, Json> | undefined;
  pushedAt: number;
};

export type FlushState = { size: number; inFlight: number; oldestAgeMs: number; awayForMs: number };

/** Milliseconds until the next flush is due; 0 is now, undefined is "when one under way returns". */
export function flushInMs({ size, inFlight, oldestAgeMs, awayForMs }: FlushState): number | undefined {
  if (size === 0 || inFlight >= maxInFlight) return undefined;
  if (awayForMs > 0) return awayForMs;
  if (inFlight === 0 || size >= batchSize) return 0;
  return Math.max(0, gatherMs - oldestAgeMs);
}

export type Answer = WriteBack & Partial<Pick<FailureWriteBack, 'ready_at' | 'dead_lettered'>>;
export type CompleterDeps = {
  send: Send;
  clock: Clock;
  log: Logger;
  outage: FailureCounter;
  /** The engine has answered for this attempt, or it was dropped: its lease is over. `undefined` is "dropped". */
  onSettled: (attempt: Attempt, kind: Written['kind'], answer: Answer | undefined) => void;
  /** A batch was stored: other steps may be ready now. */
  onStored: () => void;
};

export class Completer {
  readonly #deps: CompleterDeps;
  #queue: Item[] = [];
  #inFlight = 0;
  #inFlightItems = 0;
  #awayUntil = 0;
  #cancel: Cancel | undefined;
  #soon = false;
  readonly #written = new Latch();

  constructor(deps: CompleterDeps) {
    this.#deps = deps;
  }

  /** Outcomes that the database does not have yet, as far as we know. */
  get unwritten(): number {
    return this.#queue.length + this.#inFlightItems;
  }

  push(attempt: Attempt, outcome: Written, meta: Record<string, Json> | undefined): void {
    this.#queue.push({ attempt, outcome, meta, pushedAt: this.#deps.clock.now() });
    this.#arm();
  }

  /** One tick: writes one batch. Never throws. */
  async flush(): Promise<void> {
    const batch = this.#trusted(this.#queue.splice(0, batchSize));
    if (batch.length === 0) return this.#announce();
    this.#inFlight++;
    this.#inFlightItems += batch.length;
    try {
      if (gates.hold !== undefined) await gates.hold('writing');
      await Promise.all(
        (['complete', 'fail', 'release'] as const).map((kind) => this.#writeKind(kind, batch)),
      );
      if (gates.hold !== undefined) await gates.hold('written');
    } finally {
      this.#inFlight--;
      this.#inFlightItems -= batch.length;
      this.#arm();
      this.#announce();
    }
  }

  /** Resolves to true when everything is written, to false when the time is up first. */
  drained(delayMs: number): Promise<boolean> {
    return this.unwritten === 0 ? Promise.resolve(true) : this.#written.wait(this.#deps.clock, delayMs);
  }

  /** Gives up on what is not written; answers how much that was. */
  abandon(): number {
    const left = this.#queue.splice(0);
    for (const item of left) this.#drop(item, 'the worker stops');
    this.#cancel?.();
    return left.length;
  }

  #writeKind(kind: Written['kind'], batch: Item[]): Promise<void> {
    const items = batch.filter(({ outcome }) => outcome.kind === kind);
    return items.length === 0 ? Promise.resolve() : this.#write(kind, items);
  }

  async #write(kind: Written['kind'], items: Item[]): Promise<void> {
    let answers: Answer[];
    try {
      answers = await this.#deps.send(kind, items);
    } catch (error) {
      return await this.#failed(kind, items, error);
    }
    this.#deps.outage.worked();
    this.#take(items, answers);
    this.#deps.onStored();
  }

  #take(items: Item[], answers: Answer[]): void {
    const byLease = new Map(answers.map((answer) => [answer.step_id, answer]));
    for (const item of items) {
      const answer = byLease.get(item.attempt.step.id);
      const isOurs = answer !== undefined && answer.lease_epoch === item.attempt.step.lease_epoch;
      if (isOurs && answer.held) this.#deps.onSettled(item.attempt, item.outcome.kind, answer);
      else this.#drop(item, 'the database gave it to another');
    }
  }

  async #failed(kind: Written['kind'], items: Item[], error: unknown): Promise<void> {
    if (!isRefusal(error)) return this.#keep(items, error);
    // One of them cannot be stored. Halving finds it in a few calls and lets the others through.
    const [first, ...rest] = items;
    if (first === undefined) return;
    if (rest.length === 0) return this.#refuse(first, error);
    const middle = items.length >> 1;
    await this.#write(kind, items.slice(0, middle));
    await this.#write(kind, items.slice(middle));
  }

  #keep(items: Item[], error: unknown): void {
    this.#awayUntil = this.#deps.clock.now() + this.#deps.outage.failed(error);
    this.#queue.unshift(...items);
  }

  /** What the engine will not store becomes a failure that says why; if that is refused too, recovery has the step. */
  #refuse(item: Item, error: unknown): void {
    const { code, message } = fromDatabase(error);
    const { id: step_id, lease_epoch } = item.attempt.step;
    write(this.#deps.log, 'error', {
      event: 'writeback.refused',
      step_id,
      lease_epoch,
      code,
      error: message,
    });
    if (item.outcome.kind !== 'complete') {
      this.#drop(item, 'the database refused it');
      return;
    }
    const failure = {
      outcome: 'permanent' as const,
      error: `the result was refused: ${code}`,
      error_class: code,
    };
    this.#queue.push({ ...item, outcome: { kind: 'fail', failure }, meta: undefined });
  }

  #trusted(items: Item[]): Item[] {
    const now = this.#deps.clock.now();
    const lost = items.filter(({ attempt }) => attempt.trustedUntil <= now);
    for (const item of lost) this.#drop(item, 'its lease is no longer trusted');
    return lost.length === 0 ? items : items.filter(({ attempt }) => attempt.trustedUntil > now);
  }

  #drop(item: Item, why: string): void {
    const { id: step_id, lease_epoch } = item.attempt.step;
    const fields = { code: 'OPS_006', step_id, lease_epoch, outcome: item.outcome.kind, why };
    write(this.#deps.log, 'warn', { event: 'lease.lost', ...fields });
    this.#deps.onSettled(item.attempt, item.outcome.kind, undefined);
  }

  #arm(): void {
    const now = this.#deps.clock.now();
    const delayMs = flushInMs({
      size: this.#queue.length,
      inFlight: this.#inFlight,
      oldestAgeMs: now - (this.#queue[0]?.pushedAt ?? now),
      awayForMs: this.#awayUntil - now,
    });
    if (delayMs === undefined) return;
    if (delayMs > 0) this.#armTimer(delayMs);
    else this.#armSoon();
  }

  #armTimer(delayMs: number): void {
    this.#cancel ??= this.#deps.clock.after(delayMs, () => {
      this.#cancel = undefined;
      this.#arm();
    });
  }

  /** After this turn: everything that ends in it goes in one batch. */
  #armSoon(): void {
    if (this.#soon) return;
    this.#soon = true;
    this.#deps.clock.soon(() => {
      this.#soon = false;
      void this.flush();
    });
  }

  #announce(): void {
    if (this.unwritten === 0) this.#written.open();
  }
}

/**
 * True when the engine will not take these values however often they are sent: `OPS_011` and the like, and the
 * SQLSTATE classes data exception, integrity violation and program limit. Everything else may pass.
 */
function isRefusal(error: unknown): boolean {
  const { code, detail } = fromDatabase(error);
  if (code === 'OPS_001' || code === 'OPS_013') return false;
  return (
    code !== 'OPS_018' || /^(22|23|54)/.test(String((detail as { sqlstate?: unknown } | null)?.sqlstate))
  );
}
