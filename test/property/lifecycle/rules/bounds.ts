/** What is bounded stays bounded: running steps, rates, chains of missions; and a hold says the truth. */
import { executors, type Rule, say } from '../model.js';
import { ms, type Snapshot, type StepRow } from '../rows.js';

export const livesOf = (snapshot: Snapshot, executor: string, now: number): number =>
  snapshot.tables.steps.filter(
    (s) => s.status === 'running' && s.executor === executor && ms(s.lease_expires_at) > now,
  ).length;

export const rateRow = (snapshot: Snapshot, executor: string) =>
  snapshot.tables.limits.find(({ key }) => key === `executor:${executor}`);

export const claimsAreBounded: Rule = function* ({ before, after, effect, model, now }) {
  for (const executor of executors) {
    const bounds = after.policies.worker_policy.executors?.[executor] ?? {};
    const [was, is] = [before, after].map((snapshot) =>
      ms(rateRow(snapshot, executor)?.window_start ?? '-infinity'),
    );
    const moved = (is ?? 0) - (was ?? 0);
    const minutes = bounds.rate?.per_minutes ?? 0;
    if (is !== was && Number.isFinite(moved) && moved < minutes * 60_000)
      yield `rate window of ${executor} began anew after ${moved} ms`;
    if (!effect.claimed?.some((attempt) => attempt.executor === executor)) continue;
    const lives = livesOf(after, executor, now);
    if (bounds.max_running !== undefined && lives > bounds.max_running)
      yield `${lives} steps of ${executor} run, max_running is ${bounds.max_running}`;
    const rated = [...model.attempts.values()].filter(
      (a) => a.executor === executor && a.rated && a.claimedAt >= (is ?? 0),
    ).length;
    if (bounds.rate !== undefined && rated > bounds.rate.count)
      yield `${rated} steps of ${executor} started in a window of ${bounds.rate.count}`;
  }
};

/** Whether today's policies give this reason to hold the step. */
function isTrue(
  snapshot: Snapshot,
  { wait_reason, executor, mission_id, pattern_id, role }: StepRow,
): boolean {
  const reason = wait_reason ?? '';
  const { worker_policy: policy } = snapshot.policies;
  const ofItsOwn = [
    'all',
    'dispatch',
    `executor:${executor}`,
    `mission:${mission_id}`,
    `pattern:${pattern_id}`,
    `role:${role}`,
  ];
  if (reason.startsWith('switch:'))
    return ofItsOwn.includes(reason.slice(7)) && snapshot.paused(reason.slice(7));
  if (reason === `policy:executor:${executor}`) return isBarred(snapshot, executor);
  if (reason === `limit:executor:${executor}`) return policy.executors?.[executor]?.max_running !== undefined;
  return reason === `rate:executor:${executor}` && policy.executors?.[executor]?.rate !== undefined;
}

export const isBarred = ({ policies }: Snapshot, executor: string): boolean => {
  const { allowed_executors: allowed, blocked_executors: blocked } = policies.worker_policy;
  return allowed?.includes(executor) === false || blocked?.includes(executor) === true;
};

export const holdsAreTrue: Rule = function* ({ after }) {
  for (const step of after.tables.steps) {
    if (step.wait_reason !== null && step.status !== 'scheduled') yield `${say(step)} has a wait_reason`;
    if (step.wait_reason !== null && !isTrue(after, step)) yield `${say(step)} is held for what is not so`;
  }
};

export const loopsAreBounded: Rule = function* ({ after, model }) {
  for (const { id, depth } of after.tables.missions)
    if (depth >= model.most.depth) yield `mission ${id} is ${depth} deep, ${model.most.depth} is the limit`;
  const perRoot = new Map<string, number>();
  for (const { root_id, event_id } of after.tables.reactions)
    if ((after.events.get(event_id)?.depth ?? 0) > 0) perRoot.set(root_id, (perRoot.get(root_id) ?? 0) + 1);
  for (const [root, n] of perRoot) if (n > model.most.fanOut) yield `root ${root} led to ${n} reactions`;
};

const cooldownMs = 30 * 60_000;
const limitWindowMs = 60 * 60_000;
const limitCount = 2;

/** The patterns `rests` (cooldown 30 minutes) and `limited` (2 an hour) of the programs' matrix. */
export const patternsRest: Rule = function* ({ after }) {
  const times = (pattern: string) =>
    after.tables.reactions.filter((r) => r.pattern_id === pattern).map((r) => ms(r.created_at));
  const rested = times('rests').sort((a, b) => a - b);
  for (const [i, time] of rested.entries())
    if (i > 0 && time - (rested[i - 1] ?? 0) < cooldownMs)
      yield `pattern rests fired again within its cooldown`;
  let [start, used] = [Number.NEGATIVE_INFINITY, 0];
  for (const time of times('limited').sort((a, b) => a - b)) {
    [start, used] = time >= start + limitWindowMs ? [time, 1] : [start, used + 1];
    if (used > limitCount) yield `pattern limited fired ${used} times in its window`;
  }
};
