/** Only an archive makes rows go, only those whose time is over, and never what anything open may still ask for. */
import type { Model, View } from '../model.js';
import { ms, type Retention, type Snapshot } from '../rows.js';
import { isOpen } from '../snapshot.js';

const dayMs = 86_400_000;

/** What finished before this may go. */
export function cutoff(policy: Retention, member: keyof Retention, now: number): number {
  return now - Math.max(1, policy[member] ?? policy.days ?? 90) * dayMs;
}

const hasOpenLetter = (snapshot: Snapshot, step: string): boolean =>
  snapshot.tables.letters.some(({ step_id, state }) => step_id === step && state === 'open');

/** Whether a mission, or something open that points at it, has yet to end. */
export function isAskedFor(snapshot: Snapshot, mission: string): boolean {
  const steps = snapshot.stepsOf(mission);
  return (
    snapshot.missions.get(mission)?.completed_at === null ||
    steps.some((step) => isOpen(step) || hasOpenLetter(snapshot, step.id)) ||
    snapshot.tables.events.some((e) => e.mission_id === mission && e.processed_at === null)
  );
}

/** Whether anything that came of these events waits, runs, or is an open dead letter. */
function isUnderWay(snapshot: Snapshot, events: Set<string>): boolean {
  const { tables } = snapshot;
  const queued = tables.reactions.some((r) => events.has(r.event_id) && r.status === 'queued');
  const proposals = tables.proposals.filter((p) => p.event_id !== null && events.has(p.event_id));
  const ids = new Set(proposals.map(({ id }) => id));
  return (
    queued ||
    proposals.some(({ status }) => ['pending', 'voting'].includes(status)) ||
    tables.missions.some((m) => ids.has(m.proposal_id) && isAskedFor(snapshot, m.id))
  );
}

function* eventsMayGo(before: Snapshot, gone: Set<string>, limit: number): Iterable<string> {
  for (const { id, type, processed_at, root_id } of before.tables.events) {
    if (!gone.has(id)) continue;
    if (!(ms(processed_at) < limit)) yield `event ${type} ${id} was archived, closed ${processed_at}`;
    const reacted = before.tables.reactions.some(({ event_id }) => event_id === id);
    const root = root_id ?? id;
    const chain = before.tables.reactions.filter((r) => r.root_id === root).map((r) => r.event_id);
    if (isUnderWay(before, new Set(reacted ? [id, ...chain] : [id])))
      yield `event ${type} ${id} was archived while its chain is under way`;
  }
}

function* workMayGo(before: Snapshot, after: Snapshot, gone: Set<string>, limit: number): Iterable<string> {
  for (const { id, completed_at } of before.tables.missions) {
    if (!gone.has(id)) continue;
    if (!(ms(completed_at) < limit)) yield `mission ${id} was archived, completed ${completed_at}`;
    if (isAskedFor(before, id)) yield `mission ${id} was archived and is asked for`;
  }
  for (const { id, mission_id } of before.tables.steps)
    if (gone.has(id) && after.missions.has(mission_id)) yield `step ${id} was archived without its mission`;
  for (const { id, mission_id } of after.tables.steps)
    if (!after.missions.has(mission_id)) yield `step ${id} stands without its mission`;
  for (const { id, status } of before.tables.proposals) {
    if (!gone.has(id)) continue;
    if (['pending', 'voting'].includes(status)) yield `${status} proposal ${id} was archived`;
    if (after.tables.missions.some(({ proposal_id }) => proposal_id === id))
      yield `proposal ${id} was archived before its mission`;
  }
}

function* recordsMayGo(before: Snapshot, gone: Set<string>, runs: number, letters: number): Iterable<string> {
  const inUse = (step: string) => {
    const row = before.steps.get(step);
    return row !== undefined && isOpen(row);
  };
  for (const { run_id, step_id, completed_at } of before.tables.attempts) {
    if (!gone.has(run_id)) continue;
    if (!(ms(completed_at) < runs)) yield `attempt ${run_id} was archived, ended ${completed_at}`;
    if (inUse(step_id) || hasOpenLetter(before, step_id))
      yield `attempt ${run_id} was archived and is asked for`;
  }
  for (const { id, step_id, state, resolved_at } of before.tables.letters) {
    if (!gone.has(id)) continue;
    if (!(ms(resolved_at) < letters)) yield `${state} dead letter ${id} was archived, settled ${resolved_at}`;
    if (inUse(step_id)) yield `dead letter ${id} was archived while its step runs again`;
  }
}

/** Ids of rows that were there and are not any more. */
function goneRows({ before, after }: View): Set<string> {
  const ids = ({ tables }: Snapshot) => [
    ...[
      tables.events,
      tables.reactions,
      tables.proposals,
      tables.missions,
      tables.steps,
      tables.letters,
    ].flatMap((rows) => rows.map(({ id }) => id)),
    ...tables.attempts.map(({ run_id }) => run_id),
  ];
  const kept = new Set(ids(after));
  return new Set(ids(before).filter((id) => !kept.has(id)));
}

/** Before the other rules: it tells the model what is rightly gone, so that nobody misses it. */
export function* absorbArchive(view: View): Iterable<string> {
  const { before, after, effect, model, now } = view;
  const gone = goneRows(view);
  if (gone.size === 0) return;
  const policy = effect.archives;
  if (policy === undefined) return;
  const finishedBy = (member: keyof Retention) => cutoff(policy, member, now);
  yield* eventsMayGo(before, gone, finishedBy('events_days'));
  yield* workMayGo(before, after, gone, finishedBy('missions_days'));
  yield* recordsMayGo(before, gone, finishedBy('runs_days'), finishedBy('dead_letters_days'));
  forgetRows(model, before, gone);
}

function forgetRows(model: Model, { tables }: Snapshot, gone: Set<string>): void {
  for (const id of gone) {
    model.archived.add(id);
    model.events.delete(id);
    const attempt = model.attempts.get(id);
    if (attempt !== undefined) attempt.archived = true;
  }
  for (const [key, id] of model.keys) if (gone.has(id)) model.keys.delete(key);
  // Steps of whose story a part is gone: what is left of it adds up to less.
  for (const { run_id, step_id } of tables.attempts) if (gone.has(run_id)) model.thinned.add(step_id);
  for (const { id, step_id } of tables.letters) if (gone.has(id)) model.thinned.add(step_id);
  for (const { id, data } of tables.events) if (gone.has(id)) model.thinned.add(String(data.step_id));
  for (const { id, proposal_id } of tables.missions) if (gone.has(id)) model.thinned.add(proposal_id);
}
