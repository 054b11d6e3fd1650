/** Runs claimed steps: one executor call per attempt, ended by at most one outcome. */
import type { Logger } from 'pino';
import type { Json } from '../executors/json.js';
import type { Attempt, Ending } from './attempt.js';
import { Latch } from './bell.js';
import type { Clock } from './clock.js';
import { gates } from './gates.js';
import { write } from './log.js';
import {
  afterReturn,
  afterThrow,
  dryRun,
  interrupted,
  neverStarted,
  type Outcome,
  parseParams,
  type Written,
} from './outcome.js';
import { withoutSecrets } from './redact.js';
import { Scope, type Surroundings } from './scope.js';
import { signalGraceMs } from './settings.js';
import type { Slots } from './slots.js';

/** How often deadlines are looked at. One sweep for all attempts is cheaper than a timer for each. */
const sweepEveryMs = 100;

export type RunnerDeps = {
  slots: Slots;
  clock: Clock;
  log: Logger;
  surroundings: () => Surroundings;
  timeoutMs: (step: { executor: string; timeout_seconds: number | null }) => number;
  /** Takes the outcome to be written. */
  onOutcome: (attempt: Attempt, outcome: Written, meta: Record<string, Json> | undefined) => void;
  /** A slot is free again. */
  onFree: () => void;
  /** Looks after leases at the same rhythm. */
  onSweep: () => void;
};

export class Runner {
  readonly running = new Set<Attempt>();
  readonly #deps: RunnerDeps;
  readonly #settled = new Latch();
  #sweeping = false;

  constructor(deps: RunnerDeps) {
    this.#deps = deps;
  }

  /** Takes a slot for the attempt and runs it; an executor at its local limit lets it wait in the slot. */
  start(attempt: Attempt): void {
    this.running.add(attempt);
    this.#armSweep();
    this.#deps.slots.enter(attempt.step.executor, (leave) => {
      attempt.leave = leave;
      if (attempt.settled) leave();
      else void this.#run(attempt);
    });
  }

  /** Aborts everything that runs; answers how many. */
  endAll(reason: Ending): number {
    for (const attempt of this.running) attempt.end(reason, this.#deps.clock.now());
    return this.running.size;
  }

  /** Takes back what has a slot but has not started. */
  takeBackUnstarted(): Attempt[] {
    const unstarted = [...this.running].filter((attempt) => !attempt.started);
    for (const attempt of unstarted) this.#settle(attempt, { kind: 'release' }, undefined);
    return unstarted;
  }

  /** Resolves to true when nothing runs, to false when the time is up first. */
  settled(delayMs: number): Promise<boolean> {
    return this.running.size === 0 ? Promise.resolve(true) : this.#settled.wait(this.#deps.clock, delayMs);
  }

  /** One tick: ends what ran too long, and gives up on what ignores its signal. */
  sweep(): void {
    const now = this.#deps.clock.now();
    this.#deps.onSweep();
    for (const attempt of this.running) {
      if (attempt.ending !== undefined && !attempt.started)
        this.#settle(attempt, neverStarted(attempt.ending), undefined);
      else if (attempt.ending !== undefined) {
        if (now >= attempt.endedAt + signalGraceMs) this.giveUp(attempt);
      } else if (now >= attempt.deadline) this.#timeOut(attempt, now);
    }
  }

  /** Frees the slot of an executor that ignores its signal. What it still does is not counted. */
  giveUp(attempt: Attempt): void {
    const ending = attempt.ending ?? 'shutdown';
    write(this.#deps.log, 'error', { event: 'attempt.given_up', ...ids(attempt), ending });
    this.#settle(attempt, interrupted(attempt.executor, ending), undefined);
  }

  async #run(attempt: Attempt): Promise<void> {
    const { executor, step } = attempt;
    let scope: Scope | undefined;
    let outcome: Outcome;
    attempt.started = true;
    attempt.deadline = this.#deps.clock.now() + this.#deps.timeoutMs(step);
    try {
      if (gates.hold !== undefined) await gates.hold('running');
      const ending = this.#endedEarly(attempt);
      if (ending !== undefined) return this.#settle(attempt, neverStarted(ending), undefined);
      // A dry run may stand there with placeholders that only real results would have filled.
      const params = step.dry_run ? step.params : parseParams(executor, step.params);
      scope = new Scope(attempt, params, this.#deps.surroundings());
      const value = step.dry_run ? undefined : await executor.run(scope);
      if (gates.hold !== undefined) await gates.hold('ran');
      outcome = step.dry_run ? dryRun(step) : afterReturn(executor, value, scope.events, attempt.ending);
    } catch (error) {
      outcome = afterThrow(executor, error, attempt.ending);
    }
    this.#settle(attempt, outcome, scope);
  }

  /** It may have waited for its executor's limit, and its lease may have run out meanwhile. */
  #endedEarly(attempt: Attempt): Ending | undefined {
    if (attempt.trustedUntil <= this.#deps.clock.now()) this.#deps.onSweep();
    return attempt.ending;
  }

  /** The first outcome counts; a second one comes from an executor that was given up. */
  #settle(attempt: Attempt, outcome: Outcome, scope: Scope | undefined): void {
    if (attempt.settled) {
      write(this.#deps.log, 'warn', { event: 'attempt.late', ...ids(attempt), outcome: outcome.kind });
      return;
    }
    attempt.settled = true;
    this.running.delete(attempt);
    attempt.leave();
    if (outcome.kind !== 'none' && attempt.ending !== 'lost') this.#report(attempt, outcome, scope);
    if (this.running.size === 0) this.#settled.open();
    this.#deps.onFree();
  }

  #report(attempt: Attempt, outcome: Written, scope: Scope | undefined): void {
    const hasSecrets = scope !== undefined && scope.secretsRead.size > 0;
    const shown = hasSecrets ? withoutSecrets(outcome, scope.secretsRead) : outcome;
    this.#logOutcome(attempt, shown);
    this.#deps.onOutcome(attempt, shown, scope?.meta);
  }

  #logOutcome(attempt: Attempt, outcome: Written): void {
    const { log, clock } = this.#deps;
    const level = outcome.kind === 'fail' ? 'warn' : 'debug';
    if (!log.isLevelEnabled(level)) return;
    const took = { ...ids(attempt), duration_ms: Math.round(clock.now() - attempt.claimedAt) };
    if (outcome.kind === 'complete') write(log, 'debug', { event: 'attempt.succeeded', ...took });
    else if (outcome.kind === 'release') write(log, 'debug', { event: 'lease.released', ...took });
    else write(log, 'warn', { event: 'attempt.failed', ...took, ...outcome.failure, code: 'OPS_007' });
  }

  #timeOut(attempt: Attempt, now: number): void {
    attempt.end('timed_out', now);
    write(this.#deps.log, 'info', { event: 'attempt.interrupted', ...ids(attempt), ending: 'timed_out' });
  }

  #armSweep(): void {
    if (this.#sweeping) return;
    this.#sweeping = true;
    this.#deps.clock.after(sweepEveryMs, () => {
      this.#sweeping = false;
      this.sweep();
      if (this.running.size > 0) this.#armSweep();
    });
  }
}

function ids({ step, executor }: Attempt) {
  return { step_id: step.id, lease_epoch: step.lease_epoch, attempt: step.attempt, executor: executor.name };
}
