/** What a claim may take, in which order, and what it may leave behind. */
import type { ClaimedStep } from '../../../../supabase/client/schemas/rows.js';
import { say } from '../model.js';
import { ms, type Snapshot, type StepRow } from '../rows.js';
import { isBarred, livesOf, rateRow } from '../rules/bounds.js';

type Asked = { executors: string[]; limit: number };

const scopesOf = ({ executor, mission_id, pattern_id, role }: StepRow): string[] => [
  ...['all', 'dispatch', `executor:${executor}`, `mission:${mission_id}`, `pattern:${pattern_id}`],
  `role:${role}`,
];

const isBlockedByPolicy = (snapshot: Snapshot, step: StepRow): boolean =>
  snapshot.paused(...scopesOf(step)) || isBarred(snapshot, step.executor);

const isDue = ({ status, wait_reason, ready_at }: StepRow, now: number): boolean =>
  status === 'queued' || (status === 'scheduled' && (wait_reason !== null || ms(ready_at) <= now));

function hasRoom(after: Snapshot, executor: string, now: number): boolean {
  const { max_running: most, rate } = after.policies.worker_policy.executors?.[executor] ?? {};
  if (most !== undefined && livesOf(after, executor, now) >= most) return false;
  return rate === undefined || (rateRow(after, executor)?.used ?? 0) < rate.count;
}

const before = (a: StepRow, b: StepRow): boolean =>
  a.priority < b.priority || (a.priority === b.priority && ms(a.ready_at) < ms(b.ready_at));

export function* checkClaim(
  was: Snapshot,
  after: Snapshot,
  rows: ClaimedStep[],
  asked: Asked,
  now: number,
): Iterable<string> {
  if (rows.length > asked.limit) yield `${rows.length} steps were claimed, ${asked.limit} were asked for`;
  const taken: StepRow[] = [];
  for (const { id, attempt, executor } of rows) {
    const step = was.steps.get(id);
    if (step === undefined || !isDue(step, now)) yield `claimed ${step ? say(step) : id}, which was not due`;
    if (step === undefined) continue;
    taken.push(step);
    if (!asked.executors.includes(executor)) yield `claimed ${say(step)} of ${executor}`;
    if (isBlockedByPolicy(was, step)) yield `claimed ${say(step)} although it is switched off`;
    if (attempt !== step.failure_count + step.crash_count + 1) yield `${say(step)} is attempt ${attempt}`;
  }
  for (const [i, step] of taken.entries()) {
    const earlier = taken[i - 1];
    if (earlier !== undefined && before(step, earlier))
      yield `${say(step)} was given out after ${say(earlier)}`;
  }
  for (const step of after.tables.steps) {
    if (!asked.executors.includes(step.executor) || !isDue(step, now)) continue;
    const later = taken.find((t) => t.executor === step.executor && before(step, t));
    if (later !== undefined && step.status === 'queued')
      yield `${say(later)} was claimed before ${say(step)}`;
    if (rows.length < asked.limit && !isBlockedByPolicy(after, step) && hasRoom(after, step.executor, now))
      yield `${say(step)} could run and was left`;
  }
}
