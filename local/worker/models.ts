/** Says how the model providers are, on the rhythm of the leases' renewals, and carries out the resets it is told. */
import type { Logger } from 'pino';
import type { OpsPort } from '../../supabase/client/port.js';
import type { Health } from '../executors/agent/health.js';
import { readModelSettings, type Settings } from '../executors/agent/providers.js';
import type { Clock } from './clock.js';
import { write } from './log.js';

/** The least time between two reports, and the longest without news while all is well. */
export const reportGapMs = { least: 3_000, most: 30_000 } as const;

export type ModelReporterDeps = {
  port: Pick<OpsPort, 'reportLlm'>;
  clock: Clock;
  log: Logger;
  worker: string;
  health: Health;
  setting: Settings;
};

export class ModelReporter {
  readonly #deps: ModelReporterDeps;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #reportedChanges = -1;
  #isUnderWay = false;

  constructor(deps: ModelReporterDeps) {
    this.#deps = deps;
    const { providers } = readModelSettings(deps.setting);
    deps.health.know(providers.map(({ name }) => name));
  }

  /** One tick: reports if there is something to say or to hear. Never throws, and nobody waits for it. */
  async tick(): Promise<void> {
    if (this.#isUnderWay || !this.#isDue()) return;
    this.#isUnderWay = true;
    try {
      await this.#report();
    } catch (error) {
      write(this.#deps.log, 'debug', { event: 'model.report_failed', err: error });
    } finally {
      this.#isUnderWay = false;
    }
  }

  /** A provider that is not asked is reported each time: then somebody may wait for a reset. */
  #isDue(): boolean {
    const { clock, health } = this.#deps;
    const sinceMs = clock.now() - this.#reportedAt;
    if (sinceMs < reportGapMs.least || !health.isUsed) return false;
    return health.changes !== this.#reportedChanges || health.ailing || sinceMs >= reportGapMs.most;
  }

  async #report(): Promise<void> {
    const resets = await this.#send();
    const { log, health } = this.#deps;
    for (const { provider, reset_wanted } of resets) {
      health.reset(provider, reset_wanted);
      write(log, 'info', { event: 'model.reset', provider });
    }
    // Whoever asked for it sees at once that it is done.
    if (resets.length > 0) await this.#send();
  }

  async #send(): ReturnType<OpsPort['reportLlm']> {
    const { port, clock, worker, health } = this.#deps;
    const { changes } = health;
    this.#reportedAt = clock.now();
    const resets = await port.reportLlm({ worker, providers: health.report() });
    this.#reportedChanges = changes;
    return resets;
  }
}
