/**
 * Any sender that can send a header: its secret, or a key that may send events, as bearer token. Nothing is signed, so
 * the event is `unverified`.
 *
 * `Idempotency-Key` or `webhook-id` names the delivery. Without one, equal bodies within one hour of the clock are one
 * event: a sender that tries again does so sooner, and what says the same on another day is another event.
 */
import { createHash } from 'node:crypto';
import { OpsError } from '../../../supabase/client/errors.js';
import { defaultMaxKeys } from '../body.js';
import { type Delivery, dataOf, typeWord, type WebhookScheme } from './source.js';

const hourMs = 3_600_000;

export const bearer: WebhookScheme = {
  limits: (env) => ({ maxBytes: env.OPS_MAX_BODY_BYTES, maxKeys: defaultMaxKeys }),
  toEvents: (delivery, payload) => ({
    type: `${delivery.source}:${typeWord(payload.type) ?? 'received'}`,
    source: delivery.source,
    data: dataOf(payload),
    ...keyOf(delivery),
    trust: 'unverified',
  }),
};

function keyOf({ source, headers, body, receivedAt }: Delivery) {
  const id = headers.get('idempotency-key') ?? headers.get('webhook-id');
  if (id === null) {
    const hour = Math.floor(receivedAt.getTime() / hourMs);
    return { body_digest: `${source}:${createHash('sha256').update(body).digest('hex')}:${hour}` };
  }
  if (/^[\x21-\x7e]{1,255}$/.test(id)) return { dedupe_key: `${source}:${id}` };
  throw new OpsError('OPS_011', 'the id of the delivery is not one word of at most 255 characters', {
    hint: 'Send a uuid as Idempotency-Key, or none.',
  });
}
