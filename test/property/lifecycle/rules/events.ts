/** Events come in at least once and are decided; every transition says so exactly once. */
import type { Rule } from '../model.js';
import type { Snapshot } from '../rows.js';

export const eventsAreKept: Rule = function* ({ before, after, effect, model }) {
  for (const [id, { type }] of model.events)
    if (after.events.get(id)?.type !== type) yield `acknowledged event ${id} (${type}) is lost`;
  for (const [key, id] of model.keys)
    if (after.events.get(id)?.dedupe_key !== key) yield `key ${key} is not the first event's`;
  for (const event of after.tables.events) {
    if ((event.processed_at === null) !== (event.outcome === null))
      yield `event ${event.type} ${event.id} is ${event.processed_at === null ? 'open' : 'closed'} with ${event.outcome}`;
    const old = before.events.get(event.id);
    const reopened = old?.processed_at != null && event.processed_at === null;
    if (reopened && !effect.reopened?.includes(event.id)) yield `event ${event.id} was opened again`;
    if (old === undefined && event.trust !== 'loop' && !model.events.has(event.id))
      yield `event ${event.id} was invented`;
  }
};

export const firingIsRecordedOnce: Rule = function* ({ after, model }) {
  const pairs = new Set<string>();
  const proposals = new Set(after.tables.proposals.map(({ id }) => id));
  for (const { id, event_id, pattern_id, status, proposal_id } of after.tables.reactions) {
    if (pairs.has(`${event_id} ${pattern_id}`)) yield `${pattern_id} fired twice for event ${event_id}`;
    pairs.add(`${event_id} ${pattern_id}`);
    if (status === 'processing') yield `reaction ${id} is left processing`;
    const known = proposals.has(proposal_id ?? '') || model.archived.has(proposal_id ?? '');
    if (status === 'done' && !known) yield `reaction ${id} is done without a proposal`;
  }
  const reacted = new Set(after.tables.reactions.map(({ event_id }) => event_id));
  for (const { id, outcome } of after.tables.events)
    if (outcome === 'fired' && !reacted.has(id)) yield `event ${id} fired without a reaction`;
};

const tally = (keys: string[]) => {
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
};

const stepEvents = (snapshot: Snapshot, type: (kind: string) => string) =>
  tally(
    snapshot.tables.events
      .filter((e) => e.type === type(snapshot.steps.get(String(e.data.step_id))?.kind ?? ''))
      .map((e) => String(e.data.step_id)),
  );

export const endsOfStepsAreSaidOnce: Rule = function* ({ after, model }) {
  const successes = tally(
    after.tables.attempts.filter((a) => a.status === 'succeeded').map((a) => a.step_id),
  );
  const deaths = tally(after.tables.letters.map((letter) => letter.step_id));
  const due: [string, Map<string, number>, (kind: string) => string][] = [
    ['success', successes, (kind) => `step:${kind}:succeeded`],
    ['failure', deaths, (kind) => `step:${kind}:failed`],
    ['dead letter', deaths, () => 'step:dead_lettered'],
  ];
  for (const [what, counts, type] of due) {
    const said = stepEvents(after, type);
    for (const { id } of after.tables.steps)
      if (!model.thinned.has(id) && (said.get(id) ?? 0) !== (counts.get(id) ?? 0))
        yield `${what} of step ${id}: ${counts.get(id) ?? 0} times, said ${said.get(id) ?? 0} times`;
  }
};
