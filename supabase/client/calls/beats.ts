/** The heartbeat, and the phases of it that may be called singly. */
import { z } from 'zod';
import { arg, call, value } from '../call.js';
import { count } from '../schemas/values.js';

export const BeatRound = z.object({
  ok: z.boolean(),
  /** Some phase filled its batch: call again. */
  more: z.boolean(),
  beat_id: z.uuid().nullable(),
  triggerResult: z.object({ events: count, queued: count }),
  reactionResult: z.object({ processed: count, created: count }),
  leaseResult: z.object({ requeued_steps: count, failed_steps: count }),
  staleResult: z.object({ recovered: count }),
  gateResult: z.object({ gated: count, approved: count, rejected: count, expired: count }),
  /** `unplanned`: schedules whose coming slots somebody has to compute. */
  scheduleResult: z.object({ fired: count, missed: count, unplanned: count }),
  /** Phases that ran: a switch may have paused some. */
  phases: count,
  failures: z.array(z.object({ phase: z.string(), code: z.string(), message: z.string() })),
});
export type BeatRound = z.infer<typeof BeatRound>;

export const LeaseRecovery = z.object({ requeued_steps: count, failed_steps: count });

export const StaleRecovery = z.object({ recovered: count });

export const beatCalls = {
  heartbeat: call(
    'ops_heartbeat',
    {
      eventBatch: arg.int.orDefault,
      reactionBatch: arg.int.orDefault,
      staleMinutes: arg.numeric.orDefault,
      source: arg.text.orDefault,
      beatId: arg.uuid.orDefault,
    },
    value(BeatRound),
  ),
  recordBeatFailure: call(
    'ops_record_beat_failure',
    { beatId: arg.uuid.orDefault, source: arg.text, error: arg.text },
    value(z.object({ beat_id: z.uuid() })),
  ),
  recoverExpiredLeases: call(
    'ops_recover_expired_leases',
    { limit: arg.int.orDefault },
    value(LeaseRecovery),
  ),
  recoverStaleSteps: call(
    'ops_recover_stale_steps',
    { minutes: arg.numeric.orDefault },
    value(StaleRecovery),
  ),
};
