import type { Logger } from 'pino';
import type { OpsPort } from '../../supabase/client/port.js';
import type { ClaimedStep } from '../../supabase/client/schemas/rows.js';
import type { Registry } from '../executors/registry.js';
import { Attempt } from './attempt.js';
import type { Clock } from './clock.js';
import { gates } from './gates.js';
import { trustedUntil } from './lease.js';
import { write } from './log.js';
import { Marks } from './marks.js';
import type { FailureCounter } from './outage.js';
import type { Ask, Slots } from './slots.js';

/**
 * What one look for work came to. `full`: as many as asked for, so look again. `some`: fewer. `empty`: none.
 * `blocked`: no slot is free, or claiming is suspended. `away`: the call failed; wait so many milliseconds.
 */
export type Look = { kind: 'full' | 'some' | 'empty' | 'blocked' } | { kind: 'away'; waitMs: number };

export type ClaimerDeps = {
  port: Pick<OpsPort, 'claimSteps'>;
  clock: Clock;
  log: Logger;
  worker: string;
  slots: Slots;
  registry: Registry;
  outage: FailureCounter;
  leaseMs: () => number;
  /** False while draining, over back-pressure, or without trust in our leases. */
  mayClaim: () => boolean;
  onClaimed: (attempts: Attempt[]) => void;
};

/** While other steps keep coming, executors with a local limit that had none are asked for again after so long. */
const restMs = 100;

export class Claimer {
  readonly #deps: ClaimerDeps;
  /** The last look found nothing: ask one question for all executors. */
  #quiet = true;
  #limitedRestUntil = 0;
  readonly #marks = new Marks();
  claimed = 0;

  constructor(deps: ClaimerDeps) {
    this.#deps = deps;
  }

  /** One tick: claims up to the free slots and hands on what it got. Never throws. */
  async tick(): Promise<Look> {
    const asks = this.#deps.mayClaim() ? this.#deps.slots.asks(this.#scope()) : [];
    if (asks.length === 0) return { kind: 'blocked' };
    try {
      const got = await Promise.all(asks.map((ask) => this.#claim(ask)));
      this.#deps.outage.worked();
      const total = got.reduce((sum, n) => sum + n, 0);
      this.#quiet = total === 0;
      if (got[1] === 0) this.#limitedRestUntil = this.#deps.clock.now() + restMs;
      const full = got.some((n, i) => n === asks[i]?.limit);
      return { kind: full ? 'full' : total > 0 ? 'some' : 'empty' };
    } catch (error) {
      return { kind: 'away', waitMs: this.#deps.outage.failed(error) };
    }
  }

  #scope(): 'all' | 'each' | 'unlimited' {
    if (this.#quiet) return 'all';
    return this.#deps.clock.now() < this.#limitedRestUntil ? 'unlimited' : 'each';
  }

  /** Trust counts from before the call: the database cannot have started the lease earlier. */
  async #claim(ask: Ask, marks = this.#marks.at(this.#deps.clock.now(), ask.executors)): Promise<number> {
    const { port, clock, worker, leaseMs } = this.#deps;
    const start = clock.now();
    const until = trustedUntil(start, leaseMs());
    const leaseSeconds = leaseMs() / 1_000;
    const steps = await port.claimSteps({ worker, ...ask, leaseSeconds, ...(marks && { marks }) });
    // Nothing behind the marks says nothing about what came before them.
    if (marks !== null && steps.length === 0) return await this.#claim(ask, null);
    if (marks === null) this.#marks.looked(start, clock.now());
    this.#marks.found(steps);
    if (gates.hold !== undefined && steps.length > 0) await gates.hold('claimed');
    const attempts = steps.flatMap((step) => this.#attempt(step, until));
    this.claimed += attempts.length;
    this.#logClaims(attempts);
    this.#deps.onClaimed(attempts);
    return steps.length;
  }

  #attempt(step: ClaimedStep, until: number): Attempt[] {
    const { registry, clock } = this.#deps;
    const executor = registry.get(step.executor);
    return executor === undefined ? [] : [new Attempt(step, executor, clock.now(), until)];
  }

  #logClaims(attempts: Attempt[]): void {
    if (!this.#deps.log.isLevelEnabled('debug')) return;
    for (const { step } of attempts) {
      const { id: step_id, lease_epoch, executor, attempt } = step;
      write(this.#deps.log, 'debug', { event: 'lease.claimed', step_id, lease_epoch, executor, attempt });
    }
  }
}
