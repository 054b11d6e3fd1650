/** `POST /api/ops/events`: one event, a list, or `{"events": [...]}`. Storing them is all that happens here. */
import { z } from 'zod';
import { EventInput } from '../../supabase/client/schemas/inputs.js';
import type { EventReceipt } from '../../supabase/client/schemas/rows.js';
import { defaultMaxKeys, readJson } from './body.js';
import type { AppDeps, Handler } from './deps.js';
import { checkInput } from './input.js';

const EventList = z.array(EventInput).min(1, 'needs at least one event');
const EventEnvelope = z.strictObject({ events: EventList });

/** 201 when at least one event is new, 200 when all were known. One event answers one receipt, a list a list. */
export function receiveEvents({ port, env }: AppDeps): Handler {
  return async function receiveEvents(c) {
    const body = await readJson(c.req.raw, { maxBytes: env.OPS_MAX_BODY_BYTES, maxKeys: defaultMaxKeys });
    const { events, single } = readEvents(body);
    const receipts = (await port.emitEvents({ events }))
      .sort((a, b) => a.position - b.position)
      .map(publicReceipt);
    const created = receipts.filter((receipt) => receipt.created).length;
    const status = created > 0 ? 201 : 200;
    return single
      ? c.json(receipts[0], status)
      : c.json({ created, duplicates: receipts.length - created, events: receipts }, status);
  };
}

/** Checked in the shape it was sent in, so that a pointer in the answer fits the caller's own document. */
function readEvents(body: unknown): { events: EventInput[]; single: boolean } {
  if (Array.isArray(body)) return { events: checkInput(EventList, body), single: false };
  if (typeof body === 'object' && body !== null && Object.hasOwn(body, 'events'))
    return { events: checkInput(EventEnvelope, body).events, single: false };
  return { events: [checkInput(EventInput, body)], single: true };
}

export const publicReceipt = ({ id, created, duplicate_of }: EventReceipt) => ({ id, created, duplicate_of });
