/**
 * `POST /api/ops/webhooks/:source`. Order matters: size, signature over the bytes as sent, one insert, commit, and
 * only then 2xx. No rule is looked at here; the next beat decides. 202 for a new event, 200 for one already known.
 */
import { z } from 'zod';
import { OpsError } from '../../supabase/client/errors.js';
import { parseJson, readBytes, requireJson } from './body.js';
import type { AppDeps, Handler } from './deps.js';
import { publicReceipt } from './events.js';
import { checkInput } from './input.js';
import { Refusal } from './problem.js';
import { github } from './webhooks/github.js';
import type { WebhookSource } from './webhooks/source.js';

/** GitHub hangs up after 10 s; a 503 before that says more than silence. */
const storeDeadlineMs = 8_000;

const sources = new Map<string, WebhookSource>([['github', github]]);

/** Throws 404 unknown source, 403 no secret set, 401 signature, 413/415/400 body, 503 database away. */
export function receiveWebhook({ port, env }: AppDeps): Handler {
  return async function receiveWebhook(c) {
    const source = knownSource(c.req.param('source') ?? '');
    const secrets = liveSecrets(source, env);
    const { maxBytes, maxKeys } = source.limits(env);
    requireJson(c.req.raw);
    const body = await readBytes(c.req.raw, maxBytes);
    await source.verify(c.req.raw.headers, body, secrets);
    const payload = checkInput(z.record(z.string(), z.unknown()), parseJson(body, maxKeys));
    const event = source.toEvent(c.req.raw.headers, body, payload);
    const [receipt] = await port.emitEvents({ events: [event] }, { deadlineMs: storeDeadlineMs });
    if (receipt === undefined) throw new OpsError('OPS_018', 'ops_emit_events answered no receipt');
    return c.json(publicReceipt(receipt), receipt.created ? 202 : 200);
  };
}

function knownSource(name: string): WebhookSource {
  const source = sources.get(name);
  if (source !== undefined) return source;
  throw new OpsError('OPS_012', 'no webhook source has this name', {
    hint: `Known sources: ${[...sources.keys()].join(', ')}.`,
  });
}

function liveSecrets(source: WebhookSource, env: AppDeps['env']): string[] {
  const secrets = source.secrets(env);
  if (secrets.length > 0) return secrets;
  throw new Refusal('OPS_014', 'this webhook source has no secret, so nothing it sends can be believed', {
    status: 403,
    hint: `Set ${source.variable} to the secret in the sender's settings.`,
  });
}
