/**
 * Who may call. A gate lets a request through by returning and refuses by throwing. Keys are compared in constant
 * time, and a secret that is unset or too short opens nothing: the request is refused with `OPS_016`.
 */
import { OpsError } from '../../supabase/client/errors.js';
import type { AppContext, AppDeps, Gate } from './deps.js';
import { type ControlEnv, minApiKeyLength, minSecretLength } from './env.js';
import { Refusal } from './problem.js';
import { sameSecret } from './secrets.js';
import { admitSession, hasSession } from './session.js';

type Bearer = {
  variable: 'OPS_API_KEY' | 'CRON_SECRET';
  /** Also taken while keys are changed over; alone it opens nothing. */
  previous?: 'OPS_API_KEY_PREVIOUS';
  least: number;
  actor: string;
};

const apiKey: Bearer = {
  variable: 'OPS_API_KEY',
  previous: 'OPS_API_KEY_PREVIOUS',
  least: minApiKeyLength,
  actor: 'api',
};
const cronSecret: Bearer = { variable: 'CRON_SECRET', least: minSecretLength, actor: 'cron' };

export type Gates = Record<
  'anyone' | 'scheduler' | 'operator' | 'operatorOrScheduler' | 'operatorOrPage',
  Gate
>;

export function createGates({ env, now }: Pick<AppDeps, 'env' | 'now'>): Gates {
  const operator: Gate = (c) => admitBearer(c, env, [apiKey]);
  return {
    anyone: () => {},
    scheduler: (c) => admitBearer(c, env, [cronSecret]),
    operator,
    operatorOrScheduler: (c) => admitBearer(c, env, [apiKey, cronSecret]),
    operatorOrPage: (c) => (hasSession(c) ? admitSession(c, env, now()) : operator(c)),
  };
}

/** Throws 500 `OPS_016` unconfigured, 401 missing, 400 malformed, 401 wrong; sets the actor otherwise. */
function admitBearer(c: AppContext, env: ControlEnv, accepted: Bearer[]): void {
  const usable = accepted.filter((bearer) => secretsOf(bearer, env).length > 0);
  if (usable.length === 0) throw unconfigured(accepted);
  const token = bearerToken(c.req.header('authorization'));
  const [opened] = usable.filter((bearer) => opens(token, secretsOf(bearer, env)));
  if (opened === undefined) throw wrong();
  c.set('actor', opened.actor);
}

/** The secrets of one kind that are long enough; none if the current one is not. */
function secretsOf({ variable, previous, least }: Bearer, env: ControlEnv): string[] {
  const longEnough = (secret: string | undefined): secret is string =>
    secret !== undefined && secret.length >= least;
  const current = env[variable];
  return longEnough(current)
    ? [current, previous === undefined ? undefined : env[previous]].filter(longEnough)
    : [];
}

/** Every secret is compared, so the time taken does not say which one matched. */
const opens = (token: string, secrets: string[]): boolean =>
  secrets.filter((secret) => sameSecret(token, secret)).length > 0;

function bearerToken(header: string | undefined): string {
  if (header === undefined || header === '') throw missing();
  const token = /^Bearer +([\x21-\x2b\x2d-\x7e]+)$/i.exec(header)?.[1];
  if (token === undefined) throw malformed();
  return token;
}

const realm = 'Bearer realm="ops-loop"';
const sendKey = 'Send one header `Authorization: Bearer <key>`.';

const missing = (): Refusal =>
  new Refusal('OPS_014', 'no key was sent', { hint: sendKey, headers: { 'WWW-Authenticate': realm } });
const malformed = (): Refusal =>
  new Refusal('OPS_014', 'the Authorization header is not one bearer token', {
    status: 400,
    hint: sendKey,
    headers: { 'WWW-Authenticate': `${realm}, error="invalid_request"` },
  });
const wrong = (): Refusal =>
  new Refusal('OPS_014', 'the key is not one that opens this route', {
    hint: 'GET of the heartbeat takes CRON_SECRET; everything else takes OPS_API_KEY.',
    headers: { 'WWW-Authenticate': `${realm}, error="invalid_token"` },
  });

function unconfigured(accepted: Bearer[]): OpsError {
  const list = accepted
    .map(({ variable, least }) => `${variable} (at least ${least} characters)`)
    .join(' or ');
  return new OpsError('OPS_016', 'the secret that opens this route is not set, or too short', {
    hint: `Set ${list}, for example from \`openssl rand -base64 33\`.`,
  });
}
