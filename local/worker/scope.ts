import type { Logger } from 'pino';
import { z } from 'zod';
import { StepEvent as StepEventSchema } from '../../supabase/client/schemas/inputs.js';
import {
  type Cost,
  type ExecutorDatabase,
  type Policies,
  type StepContext,
  StepError,
  type StepEvent,
} from '../executors/contract.js';
import { type Json, type NotJson, storable, toJson } from '../executors/json.js';
import { traceparentOf } from '../tracing/traceparent.js';
import type { Attempt } from './attempt.js';
import { write } from './log.js';

/** What all attempts of a worker share. */
export type Surroundings = {
  log: Logger;
  db: ExecutorDatabase;
  secrets: (name: string) => string | undefined;
  policies: Policies;
  workspace: string;
};

/** What one attempt sees, and what it reports while it runs. Logger and signal are made when asked for. */
export class Scope implements StepContext {
  readonly params: unknown;
  readonly events: StepEvent[] = [];
  readonly secretsRead = new Set<string>();
  meta: Record<string, Json> | undefined;
  readonly #attempt: Attempt;
  readonly #around: Surroundings;
  #log: Logger | undefined;

  constructor(attempt: Attempt, params: unknown, around: Surroundings) {
    this.params = params;
    this.#attempt = attempt;
    this.#around = around;
  }

  get signal(): AbortSignal {
    return this.#attempt.signal;
  }
  get stepId(): string {
    return this.#attempt.step.id;
  }
  get idempotencyKey(): string {
    return this.#attempt.step.id;
  }
  get missionId(): string {
    return this.#attempt.step.mission_id;
  }
  get key(): string {
    return this.#attempt.step.key;
  }
  get kind(): string {
    return this.#attempt.step.kind;
  }
  get attempt(): number {
    return this.#attempt.step.attempt;
  }
  get leaseEpoch(): number {
    return this.#attempt.step.lease_epoch;
  }
  get role(): string | null {
    return this.#attempt.step.role;
  }
  get traceparent(): string | undefined {
    return traceparentOf(this.#attempt.step);
  }
  get workspace(): string {
    return this.#around.workspace;
  }
  get config(): Policies {
    return this.#around.policies;
  }
  get db(): ExecutorDatabase {
    return this.#around.db;
  }
  get log(): Logger {
    const { id, executor, attempt } = this.#attempt.step;
    this.#log ??= this.#around.log.child({ step_id: id, executor, attempt });
    return this.#log;
  }

  // Getters, so that an executor may take them apart from the context, and pays for none that it does not use.
  get progress() {
    return (fraction: number, note?: string): void => {
      if (this.log.isLevelEnabled('debug'))
        write(this.log, 'debug', { event: 'attempt.progress', fraction, note });
    };
  }

  get cost() {
    return (used: Cost): void => {
      this.meta ??= {};
      for (const [name, amount] of Object.entries(used)) {
        const measure = storable(name);
        const before = this.meta[measure];
        if (typeof amount === 'string') this.meta[measure] = storable(amount);
        else if (Number.isFinite(amount))
          this.meta[measure] = Number(amount) + (typeof before === 'number' ? before : 0);
      }
    };
  }

  get secret() {
    return (name: string): string | undefined => {
      const value = this.#around.secrets(name);
      if (value !== undefined) this.secretsRead.add(value);
      return value;
    };
  }

  get setting() {
    return this.#around.secrets;
  }

  get emit() {
    return (event: StepEvent): void => {
      this.events.push(checkedEvent(event));
    };
  }
}

function checkedEvent(event: StepEvent): StepEvent {
  try {
    return StepEventSchema.parse(toJson(event));
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as NotJson).message;
    throw new StepError(`the event that the executor raised is not valid: ${why}`, {
      outcome: 'permanent',
      errorClass: 'InvalidEvent',
      cause,
    });
  }
}
