/**
 * Stripe (docs.stripe.com/webhooks/signature): `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=…]`, an HMAC of
 * `<t>.<body>`. Any of the signatures suffices, so that a secret can be rolled; other versions are ignored.
 *
 * The id of the event is under the signature, so it alone tells a delivery that comes again.
 */
import { OpsError } from '../../../supabase/client/errors.js';
import {
  type Delivery,
  dataOf,
  refused,
  signedText,
  toleranceSeconds,
  typeWord,
  type WebhookScheme,
} from './source.js';

/** Payloads stay far below (docs.stripe.com/api/events: one object and what changed of it). */
const maxKeys = 100_000;

export const stripe: WebhookScheme = {
  limits: (env) => ({ maxBytes: env.OPS_MAX_BODY_BYTES, maxKeys }),
  verify: verifyStripe,
  toEvents({ source }, payload) {
    const { id, type } = payload;
    const word = typeWord(type);
    if (typeof id !== 'string' || !/^\w{1,255}$/.test(id) || word === undefined)
      throw new OpsError('OPS_011', 'the body is no event of Stripe: it has no id or no type', {
        hint: 'Send events of the account, as objects.',
      });
    const event = { type: `stripe:${word}`, source, data: dataOf(payload), dedupe_key: `${source}:${id}` };
    return { ...event, trust: 'verified' };
  },
};

/** The library would take `1700000000x` for a time; only what Stripe sends is taken here. */
const headerForm = /^t=(\d{9,12})(?:,v\d=[0-9a-f]+)+$/;

async function verifyStripe(
  { headers, body, receivedAt }: Delivery,
  secrets: readonly string[],
): Promise<void> {
  const header = headers.get('stripe-signature');
  if (header === null) throw refused('Stripe-Signature is missing');
  const [, signedAt] = headerForm.exec(header) ?? [];
  if (signedAt === undefined) throw refused('Stripe-Signature is not t=<seconds>,v1=<hex>');
  // The library refuses what is too old, and takes any time to come; with a tolerance of 0 it leaves that to us.
  if (Math.abs(receivedAt.getTime() / 1_000 - Number(signedAt)) > toleranceSeconds)
    throw refused(`the signature is more than ${toleranceSeconds} s away from our time`);
  // Heavy, and of use to this scheme alone.
  const { default: Stripe } = await import('stripe');
  const text = signedText(body);
  const holds = (secret: string): boolean => {
    try {
      return Stripe.webhooks.signature.verifyHeader(text, header, secret, 0);
    } catch {
      return false;
    }
  };
  if (!secrets.map(holds).includes(true))
    throw refused('the signature does not fit this body and our secret');
}
