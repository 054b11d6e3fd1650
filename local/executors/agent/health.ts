/**
 * How the providers are, as this process sees them: a breaker each (cockatiel), holds that a provider asked for, and
 * the figures that the worker reports. One for the whole process: breakers speak of a provider, not of a step.
 */
import {
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhen,
  isBrokenCircuitError,
} from 'cockatiel';
import type { LlmReport } from '../../../supabase/client/schemas/inputs.js';
import { Fault, isIll } from './fault.js';
import {
  failed,
  hold,
  newRecord,
  type ProviderRecord,
  refuseIfHeld,
  reportOf,
  stateOf,
  succeeded,
} from './provider-record.js';

/** Five in a row is no accident; half a minute is what restarts and deployments take. */
const breakerDefaults = { failures: 5, halfOpenAfterMs: 30_000 } as const;
export type HealthOptions = { now?: () => number; failures?: number; halfOpenAfterMs?: number };

export class Health {
  readonly #records = new Map<string, ProviderRecord>();
  readonly #now: () => number;
  readonly #bounds: { failures: number; halfOpenAfterMs: number };
  #changes = 0;

  constructor({ now = () => performance.now(), ...bounds }: HealthOptions = {}) {
    this.#now = now;
    this.#bounds = { ...breakerDefaults, ...bounds };
  }

  /** Rises with everything that changes a report. */
  get changes(): number {
    return this.#changes;
  }

  /** There is at least one provider to speak of. */
  get isUsed(): boolean {
    return this.#records.size > 0;
  }

  /** Some provider is not asked at the moment, so a reset would change something. */
  get ailing(): boolean {
    return [...this.#records.values()].some((record) => stateOf(record, this.#now()) !== 'closed');
  }

  /** Runs one call if the provider may be asked. Throws `Fault` `open` or `key` when not, else what `run` throws. */
  async guard<T>(provider: string, model: string, run: () => Promise<T>): Promise<T> {
    const record = this.#recordOf(provider);
    refuseIfHeld(record, this.#now());
    if (record.breaker.state === CircuitState.HalfOpen)
      throw new Fault('open', 'is being tried by another step', { retryAfterMs: hold.leastMs });
    try {
      return await record.breaker.execute(() => this.#measured(record, model, run));
    } catch (error) {
      if (!isBrokenCircuitError(error)) throw error;
      const retryAfterMs = this.#openForMs(record);
      throw new Fault('open', 'keeps failing and is left alone', { retryAfterMs });
    }
  }

  /** Makes rows for providers that nobody has asked yet. */
  know(providers: readonly string[]): void {
    for (const provider of providers) this.#recordOf(provider);
  }

  report(): LlmReport[] {
    return [...this.#records].map(([provider, record]) =>
      reportOf(provider, record, this.#now(), this.#openForMs(record)),
    );
  }

  /** Closes the breaker and drops the hold. `order` is the reset's number, said back in the report. */
  reset(provider: string, order = 0): void {
    const record = this.#recordOf(provider);
    record.breaker = this.#breakerOf(provider);
    record.held = undefined;
    record.failures = 0;
    record.resetDone = Math.max(record.resetDone, order);
    this.#changes++;
  }

  #recordOf(provider: string): ProviderRecord {
    const known = this.#records.get(provider);
    if (known !== undefined) return known;
    const record = newRecord(this.#breakerOf(provider));
    this.#records.set(provider, record);
    this.#changes++;
    return record;
  }

  #breakerOf(provider: string): CircuitBreakerPolicy {
    const { failures, halfOpenAfterMs } = this.#bounds;
    // A probe that the caller took back has proved nothing, so it must not close the breaker.
    const counts = (error: Error) =>
      isIll(error) || (!(error instanceof Fault) && breaker.state === CircuitState.HalfOpen);
    const breaker: CircuitBreakerPolicy = circuitBreaker(handleWhen(counts), {
      halfOpenAfter: halfOpenAfterMs,
      breaker: new ConsecutiveBreaker(failures),
    });
    breaker.onBreak(() => {
      this.#recordOf(provider).openedAt = this.#now();
    });
    return breaker;
  }

  #openForMs({ openedAt = 0 }: ProviderRecord): number {
    return Math.max(0, openedAt + this.#bounds.halfOpenAfterMs - this.#now());
  }

  async #measured<T>(record: ProviderRecord, model: string, run: () => Promise<T>): Promise<T> {
    const start = this.#now();
    record.model = model;
    try {
      const answer = await run();
      succeeded(record, start, this.#now());
      return answer;
    } catch (error) {
      if (error instanceof Fault) failed(record, error, this.#now());
      throw error;
    } finally {
      this.#changes++;
    }
  }
}

/** This process's, shared by all of its steps and reported by its worker. */
export const processHealth = new Health();
