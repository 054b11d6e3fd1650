/** What workers were told, held against what the database says: nothing lost, nothing invented, nothing twice. */
import { type Rule, runningTimeoutMs, type View } from '../model.js';
import { ms } from '../rows.js';
import { runId } from '../snapshot.js';

/** Attempts that recovery ended in this command: their workers were not told, so the ledger learns it from the row. */
export function* absorbRecovery({ before, after, effect, model, now }: View): Iterable<string> {
  if (!effect.recovers) return;
  for (const [run, attempt] of model.attempts) {
    const row = after.attempts.get(run);
    if (attempt.told !== 'started' || row === undefined || row.status === 'started') continue;
    const step = before.steps.get(attempt.step);
    if (step === undefined) continue;
    const expired = ms(step.lease_expires_at) < now;
    const late = ms(step.reserved_at) + runningTimeoutMs(before, step) < now;
    const due = row.status === 'crashed' ? expired : row.status === 'timed_out' && late && !expired;
    if (!due)
      yield `attempt ${run} became ${row.status} although its lease is good until ${step.lease_expires_at}`;
    attempt.told = row.status;
  }
}

export const ledgerAgrees: Rule = function* ({ after, model }) {
  for (const [run, attempt] of model.attempts) {
    const row = after.attempts.get(run);
    if (attempt.archived === true) continue;
    if (row === undefined) yield `attempt ${run} is lost`;
    else if (row.status !== attempt.told)
      yield `attempt ${run} is ${row.status}, its worker was told ${attempt.told}`;
    else if (row.worker_id !== attempt.worker) yield `attempt ${run} is said to be ${row.worker_id}'s`;
    else if ((row.status === 'started') !== (row.completed_at === null))
      yield `attempt ${run} ended and did not`;
  }
  for (const row of after.tables.attempts)
    if (!model.attempts.has(row.run_id)) yield `attempt ${row.run_id} was invented`;
};

export const oneLiveAttempt: Rule = function* ({ after, model }) {
  const started = new Map<string, number>();
  const succeeded = new Map<string, number>();
  for (const { step_id, run_id, status } of after.tables.attempts) {
    const step = after.steps.get(step_id);
    if (status === 'started') {
      started.set(step_id, (started.get(step_id) ?? 0) + 1);
      if (step?.status !== 'running' || run_id !== runId(step_id, step.lease_epoch))
        yield `attempt ${run_id} is open, its step is ${step?.status} at epoch ${step?.lease_epoch}`;
    }
    if (status === 'succeeded') succeeded.set(step_id, (succeeded.get(step_id) ?? 0) + 1);
  }
  for (const step of after.tables.steps) {
    if ((started.get(step.id) ?? 0) !== (step.status === 'running' ? 1 : 0))
      yield `step ${step.id} is ${step.status} and has ${started.get(step.id) ?? 0} open attempts`;
    const isWhole = !model.thinned.has(step.id);
    if (isWhole && (succeeded.get(step.id) ?? 0) !== (step.status === 'succeeded' ? 1 : 0))
      yield `step ${step.id} is ${step.status} and has ${succeeded.get(step.id) ?? 0} successes`;
  }
};

export const attemptsAreBounded: Rule = function* ({ after, model }) {
  for (const step of after.tables.steps) {
    const told = [...model.attempts.values()]
      .filter((a) => a.step === step.id && a.series === step.series && a.forgiven !== true)
      .map((a) => a.told);
    const crashes = told.filter((status) => status === 'crashed').length;
    const failures = told.filter((status) => ['failed', 'timed_out', 'unknown'].includes(status)).length;
    const most = step.max_retries ?? model.most.retries;
    if (crashes > 3) yield `step ${step.id} crashed ${crashes} workers`;
    if (failures > most) yield `step ${step.id} failed ${failures} times, ${most} are allowed`;
    if (step.crash_count !== crashes)
      yield `step ${step.id} says ${step.crash_count} crashes, it had ${crashes}`;
    if (step.status !== 'failed' && step.failure_count !== failures)
      yield `step ${step.id} says ${step.failure_count} failures, it had ${failures}`;
    if (step.status === 'failed' && step.failure_count < (step.max_retries ?? 1))
      yield `step ${step.id} failed, and the known query for exhausted ones does not find it`;
  }
};

export const lettersAreExact: Rule = function* ({ before, after, model }) {
  const seen = new Set<string>();
  for (const letter of after.tables.letters) {
    const series = `${letter.step_id} series ${letter.series}`;
    if (seen.has(series)) yield `two dead letters for step ${series}`;
    seen.add(series);
    const step = after.steps.get(letter.step_id);
    const ended = step?.status === 'failed' && step.series === letter.series;
    if (letter.state === 'open' && !ended)
      yield `dead letter of ${series} is open, its step is ${step?.status}`;
    if (letter.state === 'requeued' && ended) yield `dead letter of ${series} is requeued, its step is not`;
    const counted = [...model.attempts.values()].filter(
      (a) =>
        a.step === letter.step_id &&
        a.series === letter.series &&
        a.forgiven !== true &&
        countedAs.has(a.told),
    ).length;
    // A step whose params could not be rendered fails without an attempt, and that failure counts.
    const due = counted + (letter.error_class === 'OPS_004' ? 1 : 0);
    if (letter.attempts !== due)
      yield `dead letter of ${series} says ${letter.attempts} attempts, it had ${due}`;
  }
  for (const step of after.tables.steps)
    if (
      step.status === 'failed' &&
      !seen.has(`${step.id} series ${step.series}`) &&
      !model.thinned.has(step.id)
    )
      yield `step ${step.id} series ${step.series} failed without a dead letter`;
  const kept = new Set(after.tables.letters.map(({ id }) => id));
  for (const letter of before.tables.letters)
    if (!kept.has(letter.id) && !model.archived.has(letter.id)) yield `dead letter ${letter.id} is gone`;
};

const countedAs = new Set(['crashed', 'failed', 'timed_out', 'unknown']);
