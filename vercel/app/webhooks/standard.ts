/**
 * Standard Webhooks (standardwebhooks.com): `webhook-signature: v1,<base64>[ v1,…]` over `<id>.<time>.<body>`, with a
 * secret `whsec_<base64>`. Asymmetric signatures (`v1a`) are not taken.
 *
 * The id is under the signature, so it alone tells a delivery that comes again.
 */
import { Webhook } from 'standardwebhooks';
import { defaultMaxKeys } from '../body.js';
import { type Delivery, dataOf, refused, signedText, typeWord, type WebhookScheme } from './source.js';

export const standard: WebhookScheme = {
  limits: (env) => ({ maxBytes: env.OPS_MAX_BODY_BYTES, maxKeys: defaultMaxKeys }),
  verify: verifyStandard,
  toEvents: ({ source, headers }, payload) => ({
    type: `${source}:${typeWord(payload.type) ?? 'received'}`,
    source,
    data: dataOf(payload),
    dedupe_key: `${source}:${headers.get('webhook-id')}`,
    trust: 'verified',
  }),
};

function verifyStandard({ headers, body }: Delivery, secrets: readonly string[]): void {
  const sent = {
    'webhook-id': headers.get('webhook-id') ?? '',
    'webhook-timestamp': headers.get('webhook-timestamp') ?? '',
    'webhook-signature': headers.get('webhook-signature') ?? '',
  };
  // A dot in the id would let the three parts of the signed text be cut elsewhere; the library looks at neither.
  if (!/^[\x21-\x2d\x2f-\x7e]{1,255}$/.test(sent['webhook-id']))
    throw refused('webhook-id is missing, too long, or has a dot');
  if (!/^\d{9,12}$/.test(sent['webhook-timestamp']))
    throw refused('webhook-timestamp is missing or not a number of seconds');
  const text = signedText(body);
  const holds = (secret: string): boolean => {
    try {
      // It also holds the time to 5 minutes both ways, by this machine's clock.
      new Webhook(secret).verify(text, sent, { jsonParse: false });
      return true;
    } catch {
      return false;
    }
  };
  if (!secrets.map(holds).includes(true))
    throw refused(
      'no signature fits this body and our secret, or its time is more than 5 minutes away from ours',
    );
}
