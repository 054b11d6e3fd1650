/** `/api/ops/dead-letters`: steps that are out of attempts, and what becomes of them. */
import { z } from 'zod';
import { DeadLetterFilter } from '../../supabase/client/schemas/inputs.js';
import { DeadLetter, DeadLetterChange, timestamp } from '../../supabase/client/schemas/rows.js';
import { deadLetterStates } from '../../supabase/client/terms.js';
import { answers, endpoint } from './endpoint.js';
import { fromKey, Id, nextBefore, pageOf, reason, signedReason, verb } from './input.js';

const Page = z.object({ dead_letters: z.array(DeadLetter), next_before: timestamp.nullable() });
const Discard = z.strictObject({
  reason: z.string().trim().min(1, 'says why nobody has to look at it again').max(2_000),
  actor: fromKey,
});
const RequeueAll = z.strictObject({
  /** All of its members must hold; none means every open dead letter. */
  filter: DeadLetterFilter.optional(),
  limit: z.int().min(1).max(1_000).default(100),
  /** Spreads them over time. */
  per_minute: z.int().min(1).max(100_000).optional(),
  reason,
  actor: fromKey,
});
const Requeued = z.object({ requeued: z.int(), more: z.boolean() });

export const listDeadLetters = endpoint(
  {
    summary: 'Dead letters, newest first; the open ones unless `state` says otherwise',
    query: pageOf({ state: z.enum(deadLetterStates).optional() }),
    answers: { 200: answers('A page; `next_before` is null on the last one.', Page) },
  },
  async (c, { query }, { port }) => {
    const letters = await port.listDeadLetters(query);
    return c.json({ dead_letters: letters, next_before: nextBefore(letters, query.limit) });
  },
);

const changed = { 200: answers('What became of it.', DeadLetterChange) };

export const requeueDeadLetter = endpoint(
  {
    summary: 'Runs the step of a dead letter again, in a new series of attempts',
    ...verb,
    answers: changed,
  },
  async (c, { params, body }, { port }) =>
    c.json(await port.requeueDeadLetter({ ...params, ...signedReason(c.get('actor'), body.reason) })),
);

export const discardDeadLetter = endpoint(
  { summary: 'Closes a dead letter for good', params: Id, body: Discard, answers: changed },
  async (c, { params, body }, { port }) =>
    c.json(await port.discardDeadLetter({ ...params, ...signedReason(c.get('actor'), body.reason) })),
);

export const requeueDeadLetters = endpoint(
  {
    summary: 'Requeues open dead letters by a filter, oldest first; call again while `more`',
    body: RequeueAll,
    bodyMayBeEmpty: true,
    answers: { 200: answers('How many.', Requeued) },
  },
  async (c, { body: { filter, limit, per_minute: perMinute, reason } }, { port }) => {
    const why = signedReason(c.get('actor'), reason);
    return c.json(await port.requeueDeadLetters({ filter, limit, perMinute, ...why }));
  },
);
