/**
 * Leases, as the worker may trust them.
 *
 * A claim or renewal that was sent at `t` holds in the database until at least `t + TTL`, because the database
 * starts to count after we sent it. The worker trusts it until `t + TTL - margin` by its own monotonic clock; the
 * margin is for stopping children. All leases are renewed in one call each third of the TTL. When trust ends the
 * attempt is aborted and nothing is written for it; the epoch in every write-back would refuse it anyway. After
 * trust has ended, or two renewals in a row have failed, nothing is claimed until a renewal works.
 */
import type { Logger } from 'pino';
import type { OpsPort } from '../../supabase/client/port.js';
import type { Renewal } from '../../supabase/client/schemas/rows.js';
import type { Attempt, Ending } from './attempt.js';
import type { Clock } from './clock.js';
import { gates } from './gates.js';
import { write } from './log.js';
import type { FailureCounter } from './outage.js';

/** A tenth of the lease: six seconds of a minute, time for TERM and then KILL. */
export const marginMs = (leaseMs: number): number => leaseMs / 10;

/** How long a lease asked for at `requestStart` may be trusted. */
export const trustedUntil = (requestStart: number, leaseMs: number): number =>
  requestStart + leaseMs - marginMs(leaseMs);

/** A third of the lease; long leases more often, because renewal is also the worker's sign of life. */
export const renewEveryMs = (leaseMs: number): number => Math.min(leaseMs / 3, 20_000);

const failuresUntilDistrust = 2;

export type LeaseDeps = {
  port: Pick<OpsPort, 'renewLeases'>;
  clock: Clock;
  log: Logger;
  worker: string;
  leaseMs: () => number;
  outage: FailureCounter;
  onLost: () => void;
  /** Trust has come back: claims may go on. */
  onTrust: () => void;
};

export class LeaseKeeper {
  /** By step id. A step claimed again by this worker replaces the lease that it lost. */
  readonly held = new Map<string, Attempt>();
  readonly #deps: LeaseDeps;
  #failures = 0;
  #trusting = true;

  constructor(deps: LeaseDeps) {
    this.#deps = deps;
  }

  get trusting(): boolean {
    return this.#trusting;
  }

  hold(attempt: Attempt): void {
    const before = this.held.get(attempt.step.id);
    this.held.set(attempt.step.id, attempt);
    // One whose outcome is on its way may be ready again before the answer has reached us.
    if (before !== undefined && !before.settled) this.lose(before, 'claimed again');
  }

  drop(attempt: Attempt): void {
    if (this.held.get(attempt.step.id) === attempt) this.held.delete(attempt.step.id);
  }

  /** The lease is gone: aborts the attempt, which will write nothing. */
  lose(attempt: Attempt, why: string): void {
    this.drop(attempt);
    attempt.trustedUntil = Number.NEGATIVE_INFINITY;
    attempt.end('lost', this.#deps.clock.now());
    this.#deps.onLost();
    const { id: step_id, lease_epoch } = attempt.step;
    write(this.#deps.log, 'warn', { event: 'lease.lost', code: 'OPS_006', step_id, lease_epoch, why });
  }

  /**
   * One tick: renews everything held in one call, also when that is nothing: it is the worker's sign of life.
   * Answers how many milliseconds to wait before the next. Never throws.
   */
  async renew(): Promise<number> {
    const { clock, leaseMs, outage } = this.#deps;
    const usualMs = renewEveryMs(leaseMs());
    const start = clock.now();
    const asked = [...this.held.values()];
    try {
      if (gates.hold !== undefined) await gates.hold('renewing');
      const answers = await this.#call(asked);
      outage.worked();
      this.#settle(asked, answers, trustedUntil(start, leaseMs()));
      this.#trust();
      return usualMs;
    } catch (error) {
      if (++this.#failures >= failuresUntilDistrust) this.#distrust('renewals fail');
      // Several tries must fit between the first failure and the end of trust.
      return Math.min(outage.failed(error), usualMs / 4);
    }
  }

  /** One tick: ends what can no longer be trusted. Outcomes that wait to be written are the completer's to judge. */
  sweep(): void {
    const now = this.#deps.clock.now();
    for (const attempt of this.held.values()) {
      if (attempt.settled || attempt.trustedUntil > now) continue;
      this.#distrust('a lease could not be renewed in time');
      this.lose(attempt, 'not renewed in time');
    }
  }

  #call(asked: Attempt[]): Promise<Renewal[]> {
    const { port, worker, leaseMs } = this.#deps;
    const leases = asked.map(({ step }) => ({ step_id: step.id, lease_epoch: step.lease_epoch }));
    const deadlineMs = Math.max(1_000, renewEveryMs(leaseMs()));
    return port.renewLeases({ worker, leases, leaseSeconds: leaseMs() / 1_000 }, { deadlineMs });
  }

  #settle(asked: Attempt[], answers: Renewal[], until: number): void {
    const byId = new Map(answers.map((answer) => [answer.step_id, answer]));
    for (const attempt of asked) {
      const answer = byId.get(attempt.step.id);
      // Dropped or replaced while the call was under way, or already handed to the completer: not ours to judge.
      if (answer === undefined || this.held.get(attempt.step.id) !== attempt) continue;
      if (answer.held) this.#renewed(attempt, answer, until);
      else if (!attempt.settled) this.lose(attempt, 'the database gave it to another');
    }
  }

  #renewed(attempt: Attempt, answer: Renewal, until: number): void {
    attempt.trustedUntil = Math.max(attempt.trustedUntil, until);
    const ending: Ending | undefined = answer.cancel_requested
      ? 'cancelled'
      : answer.halted
        ? 'halted'
        : undefined;
    if (ending === undefined || attempt.settled || !attempt.end(ending, this.#deps.clock.now())) return;
    write(this.#deps.log, 'info', { event: 'attempt.interrupted', step_id: attempt.step.id, ending });
  }

  #trust(): void {
    this.#failures = 0;
    if (this.#trusting) return;
    this.#trusting = true;
    this.#deps.onTrust();
  }

  #distrust(why: string): void {
    if (!this.#trusting) return;
    this.#trusting = false;
    write(this.#deps.log, 'warn', { event: 'lease.distrusted', why });
  }
}
