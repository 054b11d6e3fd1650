/** What one beat must have done: everything that was due, and no breaker without cause. */
import { runningTimeoutMs } from '../model.js';
import { ms, type Snapshot } from '../rows.js';
import { waitingForApproval } from '../rules/proposals.js';
import { verdictsFollowed } from '../verdict.js';
import { simplePatterns } from './matrix.js';
import { isCapped } from './proposals.js';

export function* checkBeat(
  before: Snapshot,
  after: Snapshot,
  recovered: number,
  now: number,
): Iterable<string> {
  if (!before.paused('all', 'heartbeat')) {
    yield* eventsDecided(before, after);
    yield* proposalsGated(before, after, now);
  }
  yield* leasesRecovered(before, after, recovered, now);
  yield* breakersHaveCause(before, after);
}

function* eventsDecided(before: Snapshot, after: Snapshot): Iterable<string> {
  for (const { id, type, trust, data, processed_at } of before.tables.events) {
    if (processed_at !== null) continue;
    const event = after.events.get(id);
    if (event?.processed_at === null) yield `a beat left event ${type} ${id} open`;
    if (trust === 'loop') continue;
    for (const { id: pattern, fires } of simplePatterns) {
      const asked = before.policies.reaction_matrix.patterns.some((p) => p.id === pattern);
      const due = asked && fires(type, Number(data.n)) && !before.paused(`pattern:${pattern}`);
      if (after.reacted(id, pattern) !== (due || before.reacted(id, pattern)))
        yield `pattern ${pattern} ${due ? 'did not fire' : 'fired'} for ${type} with n = ${data.n}`;
    }
  }
  if (before.paused('reactions')) return;
  for (const { id, status } of after.tables.reactions)
    if (status !== 'done') yield `a beat left reaction ${id} ${status}`;
}

function* proposalsGated(before: Snapshot, after: Snapshot, now: number): Iterable<string> {
  const { max_pending: most } = after.policies.proposal_caps;
  const full = most !== undefined && waitingForApproval(after) >= most;
  for (const { id, status, gated_at, next_gate_at, expires_at } of before.tables.proposals) {
    const row = after.proposals.get(id);
    if (status !== 'pending' || row === undefined) continue;
    if (ms(expires_at) <= now && row.status === 'pending') yield `proposal ${id} was not expired`;
    const due = gated_at === null && ms(next_gate_at) <= now;
    const waits = row.status === 'pending' && row.gated_at === null;
    if (due && waits && !isCapped(after, row, now) && !full)
      yield `proposal ${id} was not gated: ${row.reason}`;
  }
}

function* leasesRecovered(
  before: Snapshot,
  after: Snapshot,
  recovered: number,
  now: number,
): Iterable<string> {
  const running = before.tables.steps.filter(({ status }) => status === 'running');
  const expired = running.filter((step) => ms(step.lease_expires_at) < now);
  const late = running.filter(
    (step) => ms(step.lease_expires_at) > now && ms(step.reserved_at) + runningTimeoutMs(before, step) < now,
  );
  yield* verdictsFollowed(
    before,
    after,
    expired.map(({ id }) => ({ step: id, outcome: 'crashed' })),
    now,
  );
  yield* verdictsFollowed(
    before,
    after,
    late.map(({ id }) => ({ step: id, outcome: 'timed_out' })),
    now,
  );
  if (recovered !== late.length)
    yield `the stale phase recovered ${recovered}, ${late.length} were over their time`;
}

function* breakersHaveCause(before: Snapshot, after: Snapshot): Iterable<string> {
  const consecutive = before.policies.worker_policy.breaker?.consecutive ?? 10;
  for (const scope of Object.keys(after.policies.switches?.scopes ?? {})) {
    if (before.paused(scope) || !scope.startsWith('executor:')) continue;
    const letters = after.tables.letters.filter((letter) => `executor:${letter.executor}` === scope);
    const first = letters.at(-consecutive);
    const saved = after.tables.attempts.some(
      (a) =>
        a.status === 'succeeded' &&
        `executor:${a.executor}` === scope &&
        ms(a.completed_at) > ms(first?.created_at ?? null),
    );
    if (first === undefined || saved) yield `a breaker opened ${scope} after ${letters.length} dead letters`;
  }
}
