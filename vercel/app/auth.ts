/**
 * Who may call, and as whom. A gate lets a request through by returning and refuses by throwing; `demands` says what
 * each of them takes. Secrets of the environment are compared in constant time, keys of the database are looked up by
 * their SHA-256, and a secret that is unset or too short opens nothing: the request is refused with `OPS_016`.
 */
import { OpsError } from '../../supabase/client/errors.js';
import { hashOf, isKey } from '../../supabase/client/keys.js';
import type { KeyScope } from '../../supabase/client/terms.js';
import { hasSession } from './cookie.js';
import type { AppContext, AppDeps, Gate, Identity } from './deps.js';
import { minApiKeyLength, minSecretLength } from './env.js';
import { createEnvironmentKeys, type EnvironmentKeys, type OpeningVariable } from './environment-keys.js';
import { createHeld } from './held.js';
import { Refusal } from './problem.js';
import { createRates, type Rates } from './rates.js';
import { createSessions, type Sessions } from './session.js';

type Demand = {
  /** Secrets of the environment that open it. */
  environment: readonly OpeningVariable[];
  /** Scopes of keys in the database that open it, and of sessions where `page` is set. */
  scopes: readonly KeyScope[];
  /** Missing means that no cookie opens it. */
  page?: true;
  /** Counts against the sender's requests per minute. */
  rated?: true;
};

const demands = {
  /** GET is for Vercel's scheduler alone, which can send nothing else. */
  scheduler: { environment: ['CRON_SECRET'], scopes: [] },
  heartbeat: { environment: ['OPS_API_KEY', 'CRON_SECRET'], scopes: ['operator', 'worker'] },
  ingest: { environment: ['OPS_API_KEY'], scopes: ['operator', 'ingest'], rated: true },
  viewer: { environment: ['OPS_API_KEY'], scopes: ['operator', 'viewer'], page: true },
  operator: { environment: ['OPS_API_KEY'], scopes: ['operator'] },
  operatorOrPage: { environment: ['OPS_API_KEY'], scopes: ['operator'], page: true },
  /** Whoever may open the page: makes a link that signs a browser in. */
  keyHolder: { environment: ['OPS_API_KEY'], scopes: ['operator', 'viewer'] },
} as const satisfies Record<string, Demand>;

export type Gates = Record<'anyone' | keyof typeof demands, Gate>;
/** The gates; what the routes of the page's own session need; and how routes with a credential of their own count. */
export type Door = { gates: Gates; sessions: Sessions; rates: Rates };

type Parts = {
  keys: EnvironmentKeys;
  sessions: Sessions;
  rates: Rates;
  keyOf(token: string): Promise<Identity | undefined>;
};

export function createDoor(deps: AppDeps): Door {
  const { port, now } = deps;
  const held = createHeld((hash) => port.checkKey({ hash }), now);
  const keys = createEnvironmentKeys(deps);
  const rates = createRates(deps);
  const sessions = createSessions({ ...deps, keys, rates });
  const keyOf = async (token: string): Promise<Identity | undefined> => {
    const holder = isKey(token) ? await held.of(hashOf(token)) : null;
    if (holder === null) return undefined;
    return { scope: holder.scope, label: holder.label, by: 'key', keyId: holder.id };
  };
  return { gates: createGates({ keys, sessions, rates, keyOf }), sessions, rates };
}

function createGates(parts: Parts): Gates {
  return {
    anyone: () => {},
    scheduler: gate(demands.scheduler, parts),
    heartbeat: gate(demands.heartbeat, parts),
    ingest: gate(demands.ingest, parts),
    viewer: gate(demands.viewer, parts),
    operator: gate(demands.operator, parts),
    operatorOrPage: gate(demands.operatorOrPage, parts),
    keyHolder: gate(demands.keyHolder, parts),
  };
}

function gate(demand: Demand, parts: Parts): Gate {
  return async function admit(c) {
    await parts.keys.tell();
    const identity =
      demand.page && hasSession(c) ? await parts.sessions.holderOf(c) : await bearerOf(c, demand, parts);
    if (!opens(identity, demand)) throw insufficient(identity, demand);
    if (demand.rated) await parts.rates.takeIngest(identity.label);
    c.set('identity', identity);
    c.set('actor', identity.label);
  };
}

/** A secret of the environment was only looked for among those that open this route. */
const opens = ({ scope, by }: Identity, { scopes }: Demand): boolean =>
  by === 'environment' || scopes.some((known) => known === scope);

/** Throws 500 `OPS_016` unconfigured, 401 missing, 400 malformed, 401 wrong, 429 too often. */
async function bearerOf(c: AppContext, demand: Demand, parts: Parts): Promise<Identity> {
  const header = c.req.header('authorization');
  const { environment, scopes } = demand;
  const isConfigured = environment.some((variable) => parts.keys.current(variable) !== undefined);
  if (!isConfigured && !(scopes.length > 0 && isKey(tokenIn(header) ?? ''))) throw unconfigured(environment);
  const token = bearerToken(header);
  const holder =
    (await parts.keys.holderOf(token, environment)) ??
    (scopes.length > 0 ? await parts.keyOf(token) : undefined);
  if (holder !== undefined) return holder;
  await parts.rates.countWrongKey(c);
  throw wrong();
}

const tokenIn = (header: string | undefined): string | undefined =>
  /^Bearer +([\x21-\x2b\x2d-\x7e]+)$/i.exec(header ?? '')?.[1];

function bearerToken(header: string | undefined): string {
  if (header === undefined || header === '') throw missing();
  const token = tokenIn(header);
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
    hint: 'GET of the heartbeat takes CRON_SECRET; everything else takes OPS_API_KEY, or a key of `ops-loop keys create`.',
    headers: { 'WWW-Authenticate': `${realm}, error="invalid_token"` },
  });
const insufficient = ({ scope }: Identity, { scopes }: Demand): Refusal =>
  new Refusal('OPS_014', `the scope ${scope} does not open this route`, {
    status: 403,
    hint: `It takes ${scopes.join(' or ')}.`,
    headers: { 'WWW-Authenticate': `${realm}, error="insufficient_scope"` },
  });

function unconfigured(accepted: readonly OpeningVariable[]): OpsError {
  const least = { OPS_API_KEY: minApiKeyLength, CRON_SECRET: minSecretLength };
  const list = accepted.map((variable) => `${variable} (at least ${least[variable]} characters)`);
  return new OpsError('OPS_016', 'the secret that opens this route is not set, or too short', {
    hint: `Set ${list.join(' or ')}, for example from \`openssl rand -base64 33\`.`,
  });
}
