/** What a sender of events is told: an id per event, and whether it is new. */
import { z } from 'zod';
import { EventReceipt } from '../../supabase/client/schemas/rows.js';
import type { AppContext } from './deps.js';

const Receipt = EventReceipt.omit({ position: true });
const Receipts = z.object({ created: z.int(), duplicates: z.int(), events: z.array(Receipt) });
/** One event answers one receipt, a list a list. */
export const Receipted = z.union([Receipt, Receipts]);

/** Answers `ifNew` when at least one event is new, 200 when all were known; in the order they were sent. */
export function answerReceipts(
  c: AppContext,
  receipts: z.infer<typeof EventReceipt>[],
  { single, ifNew }: { single: boolean; ifNew: 201 | 202 },
): Response {
  const events = receipts
    .toSorted((a, b) => a.position - b.position)
    .map(({ id, created, duplicate_of }) => ({ id, created, duplicate_of }));
  const created = events.filter((event) => event.created).length;
  const status = created > 0 ? ifNew : 200;
  return single
    ? c.json(events[0], status)
    : c.json({ created, duplicates: events.length - created, events }, status);
}
