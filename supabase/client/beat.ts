/**
 * A heartbeat: rounds of `ops_heartbeat` until nothing is left or the time budget is spent. The endpoint, node-cron
 * and the worker's reactive mode all beat through here; any number of them at once is safe.
 */
import type { BeatRound } from './calls/beats.js';
import { fromDatabase, type OpsError } from './errors.js';
import type { OpsPort } from './port.js';
import { planSchedules } from './schedules.js';

/** Below the 8 s after which Supabase ends a statement of its API roles, so that a last round still fits. */
const beatBudgetMs = 5_000;
/** As `ops_heartbeat` has them when it is not told. */
const batches = { events: 500, reactions: 50 };
/** A round that runs out of time is tried with a tenth of its batch, then with a hundredth. */
const smallestShare = 100;

export type BeatOptions = {
  /** Who beats: `http`, `vercel`, `cron`, `reactive`, … Rounds from `reactive` leave no row. */
  source: string;
  budgetMs?: number | undefined;
  eventBatch?: number | undefined;
  reactionBatch?: number | undefined;
  staleMinutes?: number | undefined;
};

type Sums = Pick<
  BeatRound,
  'triggerResult' | 'reactionResult' | 'leaseResult' | 'staleResult' | 'gateResult' | 'scheduleResult'
>;

/** The answer of `GET|POST /api/ops/heartbeat`: sums over all rounds. */
export type Beat = Sums & {
  /** False if any phase of any round failed, or a round did as a whole. */
  ok: boolean;
  /** Work was left when the budget was spent. */
  more: boolean;
  /** Rounds that were carried out; 0 means that nothing worked. */
  rounds: number;
  /** Phases that ran, over all rounds. Each leaves one failure at most, so as many failures mean that none worked. */
  phases: number;
  beat_id: string | null;
  failures: BeatRound['failures'];
};

/**
 * Beats once. Never throws: a round that threw ends the beat, is recorded in a transaction of its own, and stands
 * in `failures` with phase `round` and its code (`OPS_001` when the database is away). `now` gives milliseconds of
 * a clock that never goes back.
 */
export async function runBeat(
  port: OpsPort,
  options: BeatOptions,
  now = () => performance.now(),
): Promise<Beat> {
  const end = now() + (options.budgetMs ?? beatBudgetMs);
  let beat = emptyBeat();
  let divisor = 1;
  do {
    try {
      const round = await port.heartbeat(roundArguments(options, divisor, beat.beat_id));
      beat = addRound(beat, round);
      if (round.scheduleResult.unplanned > 0) beat = await plan(port, beat);
    } catch (error) {
      divisor *= 10;
      if (divisor > smallestShare || !ranOutOfTime(error))
        return await failedBeat(port, options.source, beat, fromDatabase(error));
      beat = { ...beat, more: true };
    }
  } while (beat.more && (now() < end || beat.rounds === 0));
  return beat;
}

/** A statement timeout rolls the whole round back, and the next one would begin with the same events: it takes fewer. */
const ranOutOfTime = (error: unknown): boolean =>
  (fromDatabase(error).detail as { sqlstate?: unknown } | null | undefined)?.sqlstate === '57014';

/** Members in the order of the documented response. */
const emptyBeat = (): Beat => ({
  ok: true,
  triggerResult: { events: 0, queued: 0 },
  reactionResult: { processed: 0, created: 0 },
  leaseResult: { requeued_steps: 0, failed_steps: 0 },
  staleResult: { recovered: 0 },
  gateResult: { gated: 0, approved: 0, rejected: 0, expired: 0 },
  scheduleResult: { fired: 0, missed: 0, unplanned: 0 },
  more: false,
  rounds: 0,
  phases: 0,
  beat_id: null,
  failures: [],
});

function roundArguments(
  { source, staleMinutes, eventBatch = batches.events, reactionBatch = batches.reactions }: BeatOptions,
  divisor: number,
  beatId: string | null,
) {
  const share = (batch: number): number => Math.max(1, Math.floor(batch / divisor));
  const size = { eventBatch: share(eventBatch), reactionBatch: share(reactionBatch) };
  return { source, staleMinutes, ...size, ...(beatId !== null && { beatId }) };
}

/** Slots that were computed just now may be due already, and a round plans so many schedules only: one more sees to it. */
async function plan(port: OpsPort, beat: Beat): Promise<Beat> {
  try {
    const { planned, left } = await planSchedules(port);
    return planned + left > 0 ? { ...beat, more: true } : beat;
  } catch (error) {
    const { code, message } = fromDatabase(error);
    return { ...beat, ok: false, failures: [...beat.failures, { phase: 'schedules', code, message }] };
  }
}

function addRound(beat: Beat, round: BeatRound): Beat {
  return {
    ok: beat.ok && round.ok,
    triggerResult: add(beat.triggerResult, round.triggerResult),
    reactionResult: add(beat.reactionResult, round.reactionResult),
    leaseResult: add(beat.leaseResult, round.leaseResult),
    staleResult: add(beat.staleResult, round.staleResult),
    gateResult: add(beat.gateResult, round.gateResult),
    scheduleResult: {
      ...add(beat.scheduleResult, round.scheduleResult),
      unplanned: round.scheduleResult.unplanned,
    },
    more: round.more,
    rounds: beat.rounds + 1,
    phases: beat.phases + round.phases,
    beat_id: beat.beat_id ?? round.beat_id,
    failures: [...beat.failures, ...round.failures],
  };
}

function add<T extends Record<string, number>>(a: T, b: T): T {
  return Object.fromEntries(Object.entries(a).map(([key, n]) => [key, n + (b[key] ?? 0)])) as T;
}

async function failedBeat(port: OpsPort, source: string, beat: Beat, error: OpsError): Promise<Beat> {
  const failure = { phase: 'round', code: error.code, message: error.message };
  const beatId =
    source === 'reactive' ? beat.beat_id : ((await recordFailure(port, source, beat, error)) ?? beat.beat_id);
  return { ...beat, ok: false, more: false, beat_id: beatId, failures: [...beat.failures, failure] };
}

/** Answers nothing when it can't be recorded either: then the database is away, and says so later by the gap. */
async function recordFailure(
  port: OpsPort,
  source: string,
  beat: Beat,
  error: OpsError,
): Promise<string | undefined> {
  const known = beat.beat_id === null ? {} : { beatId: beat.beat_id };
  try {
    return (await port.recordBeatFailure({ ...known, source, error: `${error.code} ${error.message}` }))
      .beat_id;
  } catch {
    return undefined;
  }
}
