/** The heartbeat from this machine: node-cron calls `runBeat`. One tick is `beat()`; the schedule is a shell around it. */
import { createTask, validate } from 'node-cron';
import { runBeat } from '../supabase/client/beat.js';
import { fromDatabase, OpsError } from '../supabase/client/errors.js';
import type { OpsPort } from '../supabase/client/port.js';

type Log = Record<'info' | 'warn' | 'error', (fields: Record<string, unknown>, message?: string) => void>;
type BeatAnswer = Awaited<ReturnType<typeof runBeat>>;

export type LocalBeatOptions = {
  port: OpsPort;
  log: Log;
  /** Five or six fields, local time. Default: every minute. */
  cron?: string;
  eventBatch?: number;
  reactionBatch?: number;
  staleMinutes?: number;
};
export type LocalBeat = {
  /** One beat now. A call while one runs gets the running one's answer. Undefined when it failed; the log says why. */
  beat(): Promise<BeatAnswer | undefined>;
  /** Ends the schedule and waits for a beat that runs. */
  stop(): Promise<void>;
};

/**
 * Starts the schedule. Beats may overlap safely, but a second one beside a slow one would only wait for its locks,
 * so this process has one at a time. A failing database never ends the schedule. Throws `OPS_016` for a bad `cron`.
 */
export function startLocalBeat({ port, log, cron = '* * * * *', ...batches }: LocalBeatOptions): LocalBeat {
  if (!validate(cron))
    throw new OpsError('OPS_016', 'OPS_HEARTBEAT_CRON is not a cron expression', {
      hint: 'Write, for example, */5 * * * *.',
    });
  let running: Promise<BeatAnswer | undefined> | undefined;
  const beat = (): Promise<BeatAnswer | undefined> => {
    running ??= beatOnce(port, log, batches).finally(() => {
      running = undefined;
    });
    return running;
  };
  const task = createTask(cron, beat, { name: 'heartbeat', logger: quietly(log) });
  void task.start();
  return {
    beat,
    stop: async () => {
      await task.destroy();
      await running;
    },
  };
}

async function beatOnce(
  port: OpsPort,
  log: Log,
  batches: Pick<LocalBeatOptions, 'eventBatch' | 'reactionBatch' | 'staleMinutes'>,
): Promise<BeatAnswer | undefined> {
  try {
    const answer = await runBeat(port, { source: 'cron', ...batches });
    log.info({ event: 'heartbeat.beat', ...answer });
    return answer;
  } catch (thrown) {
    const error = fromDatabase(thrown);
    log.error({ event: 'heartbeat.failed', code: error.code, hint: error.hint, err: error });
    return undefined;
  }
}

/** node-cron speaks of missed ticks (a suspended laptop): a note for us, since the next beat does the work. */
const quietly = (log: Log) => ({
  info: (message: string) => log.info({ event: 'heartbeat.schedule' }, message),
  warn: (message: string) => log.warn({ event: 'heartbeat.schedule' }, message),
  error: (message: string | Error) => log.warn({ event: 'heartbeat.schedule' }, String(message)),
  debug: () => {},
});
