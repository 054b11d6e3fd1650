/**
 * `POST /api/ops/webhooks/:source`. Order matters: size, the sender's proof over the bytes as sent, one insert, commit,
 * and only then 2xx. No rule is looked at here; the next beat decides. 202 for a new event, 200 for one already known.
 */
import { z } from 'zod';
import { OpsError } from '../../supabase/client/errors.js';
import type { SentEvent } from '../../supabase/client/schemas/inputs.js';
import type { Door } from './auth.js';
import { decode, parseText, readBytes, requireJson } from './body.js';
import type { AppContext, AppDeps } from './deps.js';
import { answers, described, type Endpoint } from './endpoint.js';
import type { ControlEnv } from './env.js';
import { exactText } from './exact.js';
import { checkInput } from './input.js';
import { Refusal } from './problem.js';
import { answerReceipts, Receipted } from './receipts.js';
import { inTrace } from './trace-context.js';
import { alertmanager } from './webhooks/alertmanager.js';
import { bearer } from './webhooks/bearer.js';
import { github } from './webhooks/github.js';
import type { Delivery, WebhookScheme } from './webhooks/source.js';
import { standard } from './webhooks/standard.js';
import { stripe } from './webhooks/stripe.js';
import { schemeOf, variableOf } from './webhooks/variables.js';

/** GitHub hangs up after 10 s; a 503 before that says more than silence. */
const storeDeadlineMs = 8_000;

const schemes: Readonly<Record<ReturnType<typeof schemeOf>, WebhookScheme>> = {
  github,
  stripe,
  standard,
  alertmanager,
  bearer,
};

/** Plain enough to be a word of an event's type and, in capitals, of a variable's name. */
const Params = z.object({
  source: z
    .string()
    .regex(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/)
    .max(40),
});
const Payload = z.record(z.string(), z.unknown());
const spec = {
  summary: 'A delivery of a webhook: signed, or with the bearer token of its source',
  params: Params,
  body: Payload,
  answers: {
    202: answers('At least one event is new. Alertmanager is answered a list.', Receipted),
    200: answers('All of it was known before.', Receipted),
  },
  refuses: [401, 403, 429],
};

type Parts = AppDeps & { door: Door };
/** Where a delivery comes from, and what proves it. */
type Sender = { name: string; scheme: WebhookScheme; secrets: string[]; variable: string };

/** Throws 404 unknown source, 403 no secret set, 401 signature or token, 413/415/400 body, 503 database away. */
export function receiveWebhook(deps: AppDeps, door: Door): Endpoint {
  const { port, env } = deps;
  return described(spec, async (c) => {
    const sender = senderOf(c.req.param('source') ?? '', env);
    const { events, single } = await read(c, sender, { ...deps, door }).catch(async (refusal: unknown) => {
      // Only of sources that somebody has set up: anybody may make up names and keys.
      if (sender.secrets.length > 0) await door.rates.countRefusedDelivery(sender.name, refusal);
      throw refusal;
    });
    const receipts = await port.emitEvents(
      { events: inTrace(c.req.raw.headers, events) },
      { deadlineMs: storeDeadlineMs },
    );
    return answerReceipts(c, receipts, { single, ifNew: 202 });
  });
}

/** What a delivery says, once its sender has proved itself. */
async function read(
  c: AppContext,
  sender: Sender,
  parts: Parts,
): Promise<{ events: SentEvent[]; single: boolean }> {
  const delivery = await believe(c, sender, parts);
  const text = decode(delivery.body);
  const payload = checkInput(Payload, parseText(text, sender.scheme.limits(parts.env).maxKeys));
  const event = sender.scheme.toEvents(delivery, payload);
  const exact = exactText(text);
  const events = [event]
    .flat()
    .map((one) => (exact !== undefined && one.data === payload ? { ...one, data: exact } : one));
  return { events, single: !Array.isArray(event) };
}

function senderOf(name: string, env: ControlEnv): Sender {
  if (!Params.safeParse({ source: name }).success) throw unknown();
  const variables = env.webhooks ?? {};
  const kind = schemeOf(name, variables);
  const own = name === 'github' || name === 'stripe' ? ownSecrets[name] : undefined;
  const variable = own ?? variableOf(name, 'SECRET');
  const known: Readonly<Record<string, unknown>> = { ...env, ...variables };
  const secrets = [known[variable], known[`${variable}_PREVIOUS`]];
  return {
    name,
    scheme: schemes[kind],
    secrets: isSecret(secrets[0]) ? secrets.filter(isSecret) : [],
    variable,
  };
}

const ownSecrets = { github: 'GITHUB_WEBHOOK_SECRET', stripe: 'STRIPE_WEBHOOK_SECRET' };
const isSecret = (secret: unknown): secret is string => typeof secret === 'string' && secret !== '';

/** The delivery, once its sender has proved itself. A token is looked at before the body, a signature needs it. */
async function believe(
  c: AppContext,
  { scheme, secrets, ...sender }: Sender,
  parts: Parts,
): Promise<Delivery> {
  const { door, env, now } = parts;
  const mayHaveKey = scheme.verify === undefined && c.req.header('authorization') !== undefined;
  if (secrets.length === 0 && !mayHaveKey) throw unset(sender, env);
  if (scheme.verify === undefined) await door.admitSender(c, secrets);
  requireJson(c.req.raw);
  const body = await readBytes(c.req.raw, scheme.limits(env).maxBytes);
  const delivery = { source: sender.name, headers: c.req.raw.headers, body, receivedAt: now() };
  try {
    await scheme.verify?.(delivery, secrets);
  } catch (thrown) {
    if (thrown instanceof Refusal) await door.rates.countWrongKey(c);
    throw thrown;
  }
  return delivery;
}

/** A source that somebody has set up is told what it lacks; to anybody else there is none of that name. */
function unset({ name, variable }: Pick<Sender, 'name' | 'variable'>, env: ControlEnv): OpsError {
  const isKnown = namedSources.has(name) || env.webhooks?.[variableOf(name, 'SCHEME')] !== undefined;
  if (!isKnown) return unknown();
  return new Refusal('OPS_014', 'this webhook source has no secret, so nothing it sends can be believed', {
    status: 403,
    hint: `Set ${variable} to the secret in the sender's settings.`,
  });
}

const namedSources = new Set(['github', 'stripe', 'alertmanager']);
const unknown = (): OpsError =>
  new OpsError('OPS_012', 'no webhook source has this name', {
    hint: 'There are github, stripe, alertmanager, and any name whose OPS_WEBHOOK_<SOURCE>_SECRET is set.',
  });
