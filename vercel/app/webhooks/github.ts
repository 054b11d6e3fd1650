/**
 * GitHub (docs.github.com, Validating webhook deliveries): `X-Hub-Signature-256: sha256=<hex HMAC of the body>`.
 *
 * The delivery id is not under the signature, so a captured delivery can come again with a new id. Two keys hold it
 * off: `<source>:<delivery id>` for GitHub's own redelivery, and the digest of the signed body for a replay.
 */
import { createHash } from 'node:crypto';
import { verify } from '@octokit/webhooks-methods';
import { OpsError } from '../../../supabase/client/errors.js';
import type { EventInput } from '../../../supabase/client/schemas/inputs.js';
import { type Delivery, dataOf, type Payload, refused, signedText, type WebhookScheme } from './source.js';

/** GitHub drops what is larger (docs.github.com, Webhook events and payloads). Vercel itself refuses over 4.5 MB. */
const githubMaxBytes = 25 * 1024 * 1024;
/** At the size above: one key in 25 bytes is denser than any payload GitHub sends. */
const githubMaxKeys = 1_000_000;

export const github: WebhookScheme = {
  limits: (env) => ({ maxBytes: Math.max(githubMaxBytes, env.OPS_MAX_BODY_BYTES), maxKeys: githubMaxKeys }),
  verify: verifyGithub,
  toEvents: githubEvent,
};

/** Only the form that GitHub sends: lower-case hex behind `sha256=`. */
const signatureForm = /^sha256=[0-9a-f]{64}$/;

async function verifyGithub({ headers, body }: Delivery, secrets: readonly string[]): Promise<void> {
  const signature = headers.get('x-hub-signature-256');
  if (signature === null) throw refused('X-Hub-Signature-256 is missing');
  if (!signatureForm.test(signature))
    throw refused('X-Hub-Signature-256 is not sha256= and 64 lower-case hex digits');
  const text = signedText(body);
  const held = text === '' ? [] : await Promise.all(secrets.map((secret) => verify(secret, text, signature)));
  if (!held.includes(true)) throw refused('the signature does not fit this body and our secret');
}

/** `github:<event>[:<action>]`, with the payload as data. */
function githubEvent({ source, headers, body }: Delivery, payload: Payload): EventInput {
  const event = headerWord(headers, 'x-github-event');
  const id = headerWord(headers, 'x-github-delivery');
  const { action } = payload;
  const withAction = typeof action === 'string' && /^[A-Za-z0-9_.-]{1,60}$/.test(action);
  return {
    type: withAction ? `github:${event}:${action}` : `github:${event}`,
    source,
    data: dataOf(payload),
    dedupe_key: `${source}:${id}`,
    body_digest: `${source}:${event}:${createHash('sha256').update(body).digest('hex')}`,
    trust: 'verified',
  };
}

function headerWord(headers: Headers, name: string): string {
  const value = headers.get(name) ?? '';
  if (/^[A-Za-z0-9_.-]{1,80}$/.test(value)) return value;
  throw new OpsError('OPS_011', `${name} is missing or not one plain word`, {
    hint: 'GitHub sends it; a proxy may drop it.',
  });
}
