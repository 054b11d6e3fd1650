/** Events in, and decided again: what is emitted, replayed and retried. */
import { z } from 'zod';
import { arg, call, rows, value } from '../call.js';
import { JsonText } from '../json-text.js';
import { document, timestamp } from '../schemas/values.js';

/** Event types are words joined by colons: `github:issues:opened`. At most 200 characters. */
export const eventType = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)*$/);

export const EventInput = z.strictObject({
  type: eventType,
  source: z.string().min(1).max(200).optional(),
  data: document.optional(),
  /** A second event with the same key is the first one. */
  dedupe_key: z.string().min(1).max(500).optional(),
  /** Digest of the signed body: a replay under a fresh delivery id is the same event. */
  body_digest: z.string().max(200).optional(),
  /** `verified` unless the sender proved nothing; `loop` is the engine's own and refused here. */
  trust: z.enum(['verified', 'unverified']).optional(),
  traceparent: z.string().max(100).optional(),
});
export type EventInput = z.input<typeof EventInput>;

/** An event whose data may also be the text that it was sent in. */
export const SentEvent = EventInput.extend({
  data: z.union([document, z.instanceof(JsonText)]).optional(),
});
export type SentEvent = z.input<typeof SentEvent>;

export const EventReceipt = z.object({
  /** Place in the list that was sent, from 0. */
  position: z.int(),
  id: z.uuid(),
  created: z.boolean(),
  /** Which key made it a duplicate: of the delivery (`dedupe_key`) or of the signed body (`body_digest`). */
  duplicate_of: z.enum(['dedupe_key', 'body_digest']).nullable(),
});
export type EventReceipt = z.infer<typeof EventReceipt>;

export const EmittedEvent = z.object({ id: z.uuid(), created: z.boolean() });

export const eventCalls = {
  emitEvents: call('ops_emit_events', { events: arg.jsonb(z.array(SentEvent)) }, rows(EventReceipt)),
  emitEvent: call(
    'ops_emit_event',
    {
      type: arg.text,
      data: arg.jsonb(document).orDefault,
      source: arg.text.orDefault,
      dedupeKey: arg.text.orDefault,
    },
    value(EmittedEvent),
  ),
  replayEvents: call(
    'ops_replay_events',
    {
      since: arg.timestamp,
      pattern: arg.text.orDefault,
      limit: arg.int.orDefault,
      cursor: arg.text.orDefault,
    },
    value(
      z.object({
        reopened: z.int(),
        until: timestamp.nullable(),
        more: z.boolean(),
        /** Of the last one; the next page begins after it. */
        cursor: z.string().nullable(),
      }),
    ),
  ),
  retryReaction: call(
    'ops_retry_reaction',
    { id: arg.uuid },
    value(z.object({ id: z.uuid(), status: z.string() })),
  ),
};
