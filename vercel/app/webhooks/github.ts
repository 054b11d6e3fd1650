/**
 * GitHub (docs.github.com, Validating webhook deliveries): `X-Hub-Signature-256: sha256=<hex HMAC of the body>`.
 *
 * The delivery id is not under the signature, so a captured delivery can come again with a new id. Two keys hold it
 * off: `github:<delivery id>` for GitHub's own redelivery, and the digest of the signed body for a replay.
 */
import { createHash } from 'node:crypto';
import { verify } from '@octokit/webhooks-methods';
import { OpsError } from '../../../supabase/client/errors.js';
import type { EventInput } from '../../../supabase/client/schemas/inputs.js';
import { Refusal } from '../problem.js';
import type { WebhookSource } from './source.js';

/** GitHub drops what is larger (docs.github.com, Webhook events and payloads). Vercel itself refuses over 4.5 MB. */
const githubMaxBytes = 25 * 1024 * 1024;
/** At the size above: one key in 25 bytes is denser than any payload GitHub sends. */
const githubMaxKeys = 1_000_000;

export const github: WebhookSource = {
  variable: 'GITHUB_WEBHOOK_SECRET',
  limits: (env) => ({ maxBytes: Math.max(githubMaxBytes, env.OPS_MAX_BODY_BYTES), maxKeys: githubMaxKeys }),
  secrets: ({ GITHUB_WEBHOOK_SECRET: current, GITHUB_WEBHOOK_SECRET_PREVIOUS: previous }) =>
    current === undefined || current === ''
      ? []
      : [current, previous ?? ''].filter((secret) => secret !== ''),
  verify: verifyGithub,
  toEvent: githubEvent,
};

/** Only the form that GitHub sends: lower-case hex behind `sha256=`. */
const signatureForm = /^sha256=[0-9a-f]{64}$/;

async function verifyGithub(headers: Headers, body: Uint8Array, secrets: string[]): Promise<void> {
  const signature = headers.get('x-hub-signature-256');
  if (signature === null) throw refused('X-Hub-Signature-256 is missing');
  if (!signatureForm.test(signature))
    throw refused('X-Hub-Signature-256 is not sha256= and 64 lower-case hex digits');
  // The library signs text. A byte that is not UTF-8 becomes another here, so such a body fails as it should.
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(body);
  const held = text === '' ? [] : await Promise.all(secrets.map((secret) => verify(secret, text, signature)));
  if (!held.includes(true)) throw refused('the signature does not fit this body and our secret');
}

const refused = (message: string): Refusal =>
  new Refusal('OPS_014', message, {
    hint: 'Compare the secret in the webhook settings with GITHUB_WEBHOOK_SECRET.',
  });

/** `github:<event>[:<action>]`, with the payload as data. */
function githubEvent(headers: Headers, body: Uint8Array, payload: Record<string, unknown>): EventInput {
  const event = headerWord(headers, 'x-github-event');
  const delivery = headerWord(headers, 'x-github-delivery');
  const { action } = payload;
  const withAction = typeof action === 'string' && /^[A-Za-z0-9_.-]{1,60}$/.test(action);
  return {
    type: withAction ? `github:${event}:${action}` : `github:${event}`,
    source: 'github',
    data: payload as NonNullable<EventInput['data']>,
    dedupe_key: `github:${delivery}`,
    body_digest: `github:${event}:${createHash('sha256').update(body).digest('hex')}`,
    trust: 'verified',
  };
}

function headerWord(headers: Headers, name: string): string {
  const value = headers.get(name) ?? '';
  if (/^[A-Za-z0-9_.-]{1,100}$/.test(value)) return value;
  throw new OpsError('OPS_011', `${name} is missing or not one plain word`, {
    hint: 'GitHub sends it; a proxy may drop it.',
  });
}
