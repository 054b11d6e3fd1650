/** How steps may move: only where a command touched their mission, only along legal ways, never back from an end by themselves. */
import type { StepStatus } from '../../../../supabase/client/terms.js';
import { type Rule, say, type View } from '../model.js';
import type { StepRow } from '../rows.js';

/** Ways that are open as a consequence of what happened to another step, or of a claim that looked at the queue. */
const byConsequence: Partial<Record<StepStatus, StepStatus[]>> = {
  blocked: ['queued', 'skipped', 'failed'],
  queued: ['skipped'],
  scheduled: ['skipped', 'queued'],
};
const fromRunning: StepStatus[] = ['succeeded', 'failed', 'cancelled', 'scheduled', 'queued', 'skipped'];
const fromRevival: StepStatus[] = ['queued', 'blocked', 'scheduled', 'failed', 'skipped'];

type Touched = {
  claimed: Set<string>;
  ended: Set<string>;
  revived: Set<string>;
  cancelled: Set<string>;
  missions: Set<string>;
};

function touched({ before, after, effect }: View): Touched {
  const steps = (ids: Iterable<string>) => new Set(ids);
  const taken = effect.recovers
    ? before.tables.steps.filter((s) => s.status === 'running' && after.steps.get(s.id)?.status !== 'running')
    : [];
  const result = {
    claimed: steps((effect.claimed ?? []).map(({ step }) => step)),
    ended: steps([
      ...[...(effect.ended?.keys() ?? [])].map((run) => run.slice(0, 36)),
      ...taken.map(({ id }) => id),
    ]),
    revived: steps(effect.revived ?? []),
    cancelled: steps(effect.cancelled ?? []),
  };
  const all = Object.values(result).flatMap((ids) => [...ids]);
  return { ...result, missions: new Set(all.map((id) => after.steps.get(id)?.mission_id ?? '')) };
}

function mayMove(old: StepRow, row: StepRow, t: Touched, effect: View['effect']): boolean {
  const { id } = row;
  if (old.status === 'scheduled' && row.status === 'queued') return true;
  if (old.status === 'queued' && row.status === 'scheduled') return effect.claimed !== undefined;
  if (t.claimed.has(id)) return ['queued', 'scheduled'].includes(old.status) && row.status === 'running';
  if (t.ended.has(id)) return old.status === 'running' && fromRunning.includes(row.status);
  if (t.revived.has(id))
    return ['failed', 'cancelled'].includes(old.status) && fromRevival.includes(row.status);
  if (t.cancelled.has(id) && row.status === 'cancelled')
    return ['blocked', 'scheduled', 'queued'].includes(old.status);
  if (!t.missions.has(row.mission_id)) return false;
  if (old.status === 'skipped') return old.skipped_for !== null && t.revived.size > 0;
  return byConsequence[old.status]?.includes(row.status) ?? false;
}

export const stepsMoveLegally: Rule = function* (view) {
  const t = touched(view);
  for (const row of view.after.tables.steps) {
    const old = view.before.steps.get(row.id);
    if (old === undefined) continue;
    const moved = old.status !== row.status || old.series !== row.series;
    if (moved && !mayMove(old, row, t, view.effect))
      yield `${say(old)} became ${say(row)}, and nothing allowed it`;
    if (old.status === 'succeeded' && JSON.stringify(old) !== JSON.stringify(row))
      yield `${say(old)} had succeeded and was changed`;
  }
  for (const old of view.before.tables.steps)
    if (!view.after.steps.has(old.id) && !view.model.archived.has(old.id)) yield `${say(old)} is gone`;
};

export const epochsOnlyRise: Rule = function* (view) {
  const t = touched(view);
  for (const row of view.after.tables.steps) {
    const old = view.before.steps.get(row.id);
    if (old === undefined) {
      if (row.lease_epoch !== 0) yield `${say(row)} is new and has an epoch`;
      continue;
    }
    const taken = view.effect.recovers && t.ended.has(row.id) ? 1 : 0;
    const revived = t.revived.has(row.id) && row.series > old.series ? 1 : 0;
    const due = old.lease_epoch + taken + revived + (t.claimed.has(row.id) ? 1 : 0);
    if (row.lease_epoch !== due) yield `${say(old)} became ${say(row)}, its epoch should be ${due}`;
    if (row.series !== old.series + revived) yield `${say(old)} became ${say(row)}: series without a retry`;
  }
};

export const runningIsLeased: Rule = function* ({ after }) {
  for (const row of after.tables.steps) {
    const leased = row.lease_expires_at !== null && row.worker_id !== null && row.reserved_at !== null;
    if (row.status === 'running' && !leased) yield `${say(row)} runs without a lease`;
    if (row.status !== 'running' && row.lease_expires_at !== null)
      yield `${say(row)} has a lease and does not run`;
  }
};
