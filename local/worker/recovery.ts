import type { Logger } from 'pino';
import type { OpsPort } from '../../supabase/client/port.js';
import type { Random } from './clock.js';
import { write } from './log.js';
import type { FailureCounter } from './outage.js';

/**
 * Every 5 to 9.5 s, at random so that workers take turns: any of them can do it, and no leader is needed. The half
 * second left is for the claim that follows: what a dead worker held runs again within its lease + 10 s.
 */
export const recoverEveryMs = (random: Random): number => 5_000 + 4_500 * random();

export type RecoveryDeps = {
  port: Pick<OpsPort, 'recoverExpiredLeases'>;
  log: Logger;
  outage: FailureCounter;
  /** Steps went back to the queue. */
  onRequeued: () => void;
};

/** What one call recovers at most (the engine's default). */
const pageSize = 200;

/** One tick: ends expired leases of any worker, page by page. Never throws. */
export async function recoverExpired({ port, log, outage, onRequeued }: RecoveryDeps): Promise<void> {
  try {
    let recovered: number;
    do {
      const { requeued_steps, failed_steps } = await port.recoverExpiredLeases({ limit: pageSize });
      outage.worked();
      recovered = requeued_steps + failed_steps;
      if (recovered > 0) write(log, 'info', { event: 'lease.recovered', requeued_steps, failed_steps });
      if (requeued_steps > 0) onRequeued();
    } while (recovered >= pageSize);
  } catch (error) {
    outage.failed(error);
  }
}
