/** Events come in, once or several times; beats decide them; operators open them again. */
import fc from 'fast-check';
import { action, demand, nothing } from '../action.js';
import { nth } from '../model.js';
import { checkBeat } from './beat.js';

const event = fc.record({
  type: fc.constantFrom('demo:a', 'demo:b', 'demo:c', 'other:d'),
  n: fc.nat(9),
  key: fc.option(fc.nat(4), { freq: 1 }),
});

const emit = action(6, fc.array(event, { minLength: 1, maxLength: 3 }), async ({ port }, model, list) => {
  const known = new Set(model.keys.keys());
  const receipts = await port.emitEvents({
    events: list.map(({ type, n, key }) => ({
      type,
      data: { n },
      ...(key === null ? {} : { dedupe_key: `delivery-${key}` }),
    })),
  });
  demand(receipts.length === list.length, `${receipts.length} receipts for ${list.length} events`);
  for (const { position, id, created } of [...receipts].sort((a, b) => a.position - b.position)) {
    const sent = list[position];
    if (sent === undefined) throw new Error(`a receipt for place ${position}`);
    const key = sent.key === null ? undefined : `delivery-${sent.key}`;
    const first = key === undefined ? undefined : model.keys.get(key);
    demand(created === (first === undefined), `event ${position} with key ${key}: created ${created}`);
    demand(first === undefined || first === id, `a duplicate of ${first} was answered ${id}`);
    if (!created) continue;
    model.events.set(id, { type: sent.type, n: sent.n });
    if (key !== undefined) model.keys.set(key, id);
  }
  return { quiet: list.every(({ key }) => key !== null && known.has(`delivery-${key}`)) };
});

const emitByHand = action(2, fc.record({ n: fc.nat(9) }), async ({ sql }, model, { n }) => {
  const rows = await sql('insert into ops_agent_events (type, data) values ($1, $2) returning id', [
    'demo:a',
    JSON.stringify({ n }),
  ]);
  for (const { id } of rows) model.events.set(String(id), { type: 'demo:a', n });
  return {};
});

const beat = action(9, fc.constant({}), async ({ port, now }, model) => {
  const before = model.last;
  let recovered = 0;
  for (let rounds = 1; ; rounds++) {
    const round = await port.heartbeat({ source: 'reactive' });
    demand(round.failures.length === 0, `phases failed: ${JSON.stringify(round.failures)}`);
    recovered += round.staleResult.recovered;
    if (!round.more) break;
    demand(rounds < 50, 'a beat does not come to an end');
  }
  return { beats: true, recovers: true, check: (after) => checkBeat(before, after, recovered, now) };
});

const reopen = action(2, fc.record({ nth: fc.nat(20), all: fc.boolean() }), async ({ sql }, model, args) => {
  const closed = model.last.tables.events.filter((e) => e.processed_at !== null && model.events.has(e.id));
  const chosen = args.all ? closed : closed.slice(args.nth % Math.max(closed.length, 1)).slice(0, 1);
  if (chosen.length === 0) return nothing;
  const reopened = chosen.map(({ id }) => id);
  await sql('update ops_agent_events set processed_at = null where id = any ($1)', [reopened]);
  return { reopened };
});

const replay = action(
  1,
  fc.record({ pattern: fc.constantFrom(null, 'plain') }),
  async ({ port }, model, { pattern }) => {
    const closed = model.last.tables.events.filter((e) => e.processed_at !== null && e.trust !== 'loop');
    const known = model.last.policies.reaction_matrix.patterns.some(({ id }) => id === pattern);
    if (pattern !== null && !known) return nothing;
    const { reopened } = await port.replayEvents({
      since: '2030-01-01T00:00:00Z',
      ...(pattern === null ? {} : { pattern }),
    });
    const due = closed.filter(({ id, type }) =>
      pattern === null
        ? !model.last.tables.reactions.some(({ event_id }) => event_id === id)
        : type === 'demo:a' && !model.last.reacted(id, pattern),
    );
    demand(reopened === due.length, `${reopened} of ${due.length} events were opened again`);
    return { quiet: due.length === 0, reopened: due.map(({ id }) => id) };
  },
);

/** Rows that come back from a copy, as after a partial restore: what is there already must not be there twice. */
const copyBack = action(1, fc.record({ nth: fc.nat(20) }), async ({ sql }, model, args) => {
  const reaction = nth(model.last.tables.reactions, args.nth);
  if (reaction !== undefined)
    await sql(
      `insert into ops_agent_reactions (event_id, pattern_id, status, payload, proposal_id, root_id, created_at)
       select event_id, pattern_id, status, payload, proposal_id, root_id, created_at from ops_agent_reactions where id = $1
       on conflict do nothing`,
      [reaction.id],
    );
  const approved = model.last.tables.missions.map(({ proposal_id }) => proposal_id);
  // As the engine itself calls it. Said twice, it makes one mission.
  await sql('select ops_engine_begin(), ops_create_missions($1)', [approved]);
  return nothing;
});

export const eventActions = { emit, emitByHand, beat, reopen, replay, copyBack };
