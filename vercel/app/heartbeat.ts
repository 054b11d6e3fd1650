/** `GET|POST /api/ops/heartbeat`: one beat. Any number at once, from any source, is safe; the body is not read. */
import { z } from 'zod';
import { type Beat, runBeat } from '../../supabase/client/beat.js';
import { OpsError } from '../../supabase/client/errors.js';
import { BeatRound } from '../../supabase/client/schemas/rows.js';
import type { AppContext, AppDeps } from './deps.js';
import { answers, described, type Endpoint } from './endpoint.js';
import { answerError, publicText } from './problem.js';

const spec = {
  summary: 'One beat: rounds of the loop until nothing is left or 5 s are spent; any number at once is safe',
  answers: {
    200: answers(
      'Sums over the rounds; `ok` is false when a phase failed.',
      BeatRound.extend({ rounds: z.int() }),
    ),
  },
};

/**
 * 200, also when a phase failed (`ok` is false then). 500 when nothing worked and 503 without the database: a
 * problem document that carries the beat's own members beside its own.
 */
export function beat({ port, env, log, reportError }: AppDeps): Endpoint {
  return described(spec, async function beat(c) {
    const done = await runBeat(port, {
      source: beatSource(c),
      eventBatch: env.OPS_EVENT_BATCH_SIZE,
      reactionBatch: env.OPS_REACTION_BATCH_SIZE,
      staleMinutes: env.OPS_STALE_STEP_MINUTES,
    });
    log[done.ok ? 'info' : 'error']({ event: 'heartbeat.beat', request_id: c.get('requestId'), ...done });
    for (const { phase, code } of done.failures)
      if (code !== 'OPS_001')
        await reportError?.(new OpsError('OPS_018', 'a phase failed'), `phase ${phase}: ${code}`);
    const failure = wholeFailure(done);
    return failure === undefined ? c.json(publicBeat(done)) : answerError(failure, c, publicBeat(done));
  });
}

/** Who beat, for the record: Vercel's scheduler names itself in its user agent. */
const beatSource = (c: AppContext): string =>
  (c.req.header('user-agent') ?? '').startsWith('vercel-cron/') ? 'vercel' : 'http';

/** The error that a beat as a whole comes down to; undefined when at least one phase worked. */
function wholeFailure({ failures, phases }: Beat): OpsError | undefined {
  const away = failures.find(({ phase, code }) => phase === 'round' && code === 'OPS_001');
  if (away !== undefined) return new OpsError('OPS_001', away.message);
  const allFailed = failures.length > 0 && failures.length >= phases;
  return allFailed ? new OpsError('OPS_018', 'every phase of the beat failed') : undefined;
}

/** Texts of the driver stay in the log, as everywhere. */
const publicBeat = (beat: Beat): Beat => ({
  ...beat,
  failures: beat.failures.map((failure) => ({
    ...failure,
    message: publicText(failure.code, failure.message),
  })),
});
