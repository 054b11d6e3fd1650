/** What SPEC 6 makes of an attempt that ended without success, and what must be seen of it afterwards. */
import { defaults, idempotent, say } from './model.js';
import { ms, type Snapshot, type StepRow } from './rows.js';

type Verdict = {
  status: 'cancelled' | 'failed' | 'again';
  cause?: string;
  failures: number;
  crashes: number;
};

export function verdictOf({ policies }: Snapshot, step: StepRow, outcome: string): Verdict {
  const crashes = step.crash_count + (outcome === 'crashed' ? 1 : 0);
  const failures = step.failure_count + (['crashed', 'cancelled', 'rate_limited'].includes(outcome) ? 0 : 1);
  const counts = { failures, crashes };
  if (outcome === 'cancelled' || step.cancel_requested_at !== null) return { status: 'cancelled', ...counts };
  const failed = (cause: string): Verdict => ({ status: 'failed', cause, ...counts });
  if (outcome === 'permanent') return failed('permanent');
  const unclear = ['unknown', 'timed_out', 'crashed'].includes(outcome);
  if (unclear && !idempotent(step.executor)) return failed('unknown');
  if (crashes >= 3) return failed('worker_crash');
  const most = step.max_retries ?? policies.worker_policy.max_retries ?? defaults.maxRetries;
  return failures >= most ? failed('exhausted') : { status: 'again', ...counts };
}

export type Ending = { step: string; outcome: string; retryAfterMs?: number };

/** Holds what became of ended attempts against the verdict. */
export function* verdictsFollowed(
  before: Snapshot,
  after: Snapshot,
  endings: Ending[],
  now: number,
): Iterable<string> {
  for (const { step: id, outcome, retryAfterMs = 0 } of endings) {
    const [old, row] = [before.steps.get(id), after.steps.get(id)];
    if (old === undefined || row === undefined) continue;
    const verdict = verdictOf(before, old, outcome);
    const letter = after.tables.letters.find((l) => l.step_id === id && l.series === old.series);
    if (verdict.status !== 'again') {
      if (row.status !== verdict.status)
        yield `${outcome} made ${say(old)} into ${say(row)}, not ${verdict.status}`;
      if (letter?.cause !== verdict.cause)
        yield `${outcome} of ${say(old)}: cause ${letter?.cause}, not ${verdict.cause}`;
    } else yield* triedAgain(before, old, row, verdict, retryAfterMs, now);
  }
}

function* triedAgain(
  { policies }: Snapshot,
  old: StepRow,
  row: StepRow,
  { failures, crashes }: Verdict,
  retryAfterMs: number,
  now: number,
): Iterable<string> {
  const stopped = row.status === 'skipped' && row.skipped_for !== null;
  if (stopped) return;
  if (!['queued', 'scheduled'].includes(row.status)) {
    yield `${say(old)} became ${say(row)}, it should be tried again`;
    return;
  }
  const { base_seconds: base = 2, cap_seconds: cap = 900 } = policies.worker_policy.backoff ?? {};
  const most = Math.min(cap, base * 2 ** (Math.max(failures, crashes, 1) - 1)) * 1000;
  const wait = ms(row.ready_at) - now;
  const firstCrash = crashes === 1 && old.crash_count === 0;
  const least = firstCrash ? 0 : Math.max(most / 2, retryAfterMs);
  if (wait < least - 1 || wait > (firstCrash ? 0 : Math.max(most, retryAfterMs)) + 1)
    yield `${say(row)} waits ${wait} ms, backoff is ${least} to ${most} ms`;
}
