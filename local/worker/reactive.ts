import type { Logger } from 'pino';
import { type Beat, type BeatOptions, runBeat } from '../../supabase/client/beat.js';
import { type OpsCode, OpsError } from '../../supabase/client/errors.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { backoffMs } from './backoff.js';
import { Bell } from './bell.js';
import type { Clock, Random } from './clock.js';
import { write } from './log.js';
import type { FailureCounter } from './outage.js';
import { idleWaitMs } from './wakeup.js';

export type ReactorDeps = {
  port: OpsPort;
  clock: Clock;
  random: Random;
  log: Logger;
  outage: FailureCounter;
  beat: Omit<BeatOptions, 'source'>;
  isListening: () => boolean;
  isRunning: () => boolean;
  /** The beat made steps ready. */
  onWork: () => void;
};

/** Beats as soon as events come in, between the scheduled heartbeats. */
export class Reactor {
  readonly #deps: ReactorDeps;
  readonly #bell = new Bell();
  #emptyBeats = 0;
  /** Beats in a row of which a phase failed, and what failed in the last. */
  #failedBeats = 0;
  #failing = '';

  constructor(deps: ReactorDeps) {
    this.#deps = deps;
  }

  /** There are events, or the worker stops. */
  ring(): void {
    this.#emptyBeats = 0;
    this.#bell.ring();
  }

  /** One tick: one beat. Answers how long to wait for the next one. Never throws. */
  async tick(): Promise<number> {
    const { port, clock, random, outage, isListening } = this.#deps;
    const beat = await runBeat(port, { ...this.#deps.beat, source: 'reactive' }, () => clock.now());
    const [failure] = beat.failures;
    if (failure !== undefined && beat.rounds === 0)
      return outage.failed(new OpsError(failure.code as OpsCode, failure.message));
    outage.worked();
    const waitMs = this.#judge(beat);
    if (beat.gateResult.approved + beat.reactionResult.created > 0) this.#deps.onWork();
    this.#emptyBeats = didSomething(beat) ? 0 : this.#emptyBeats + 1;
    if (waitMs > 0) return waitMs;
    return this.#emptyBeats === 0 ? 0 : idleWaitMs(this.#emptyBeats, isListening(), random);
  }

  /** A phase that fails would fail again at once, so the next beat waits; one line for each new failure. */
  #judge({ ok, failures }: Beat): number {
    const { log, random } = this.#deps;
    const failing = failures.map(({ phase, code }) => `${phase} ${code}`).join();
    if (!ok && failing !== this.#failing) write(log, 'warn', { event: 'heartbeat.beat', failures });
    this.#failing = failing;
    this.#failedBeats = ok ? 0 : this.#failedBeats + 1;
    return ok ? 0 : backoffMs(this.#failedBeats, random);
  }

  /** Beats until the worker stops. */
  async run(): Promise<void> {
    while (this.#deps.isRunning()) await this.#bell.wait(this.#deps.clock, await this.tick());
  }
}

function didSomething({ triggerResult, reactionResult, gateResult, more }: Beat): boolean {
  return more || triggerResult.events + reactionResult.processed + gateResult.gated > 0;
}
