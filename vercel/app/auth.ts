/**
 * Who may call, and as whom. A gate lets a request through by returning and refuses by throwing; `demands` says what
 * each of them takes. Secrets of the environment are compared in constant time, keys of the database are looked up by
 * their SHA-256, and a secret that is unset or too short opens nothing: the request is refused with `OPS_016`.
 */
import { hashOf, isKey } from '../../supabase/client/keys.js';
import type { KeyScope } from '../../supabase/client/terms.js';
import { insufficient, malformed, missing, unconfigured, wrong } from './challenges.js';
import { hasSession } from './cookie.js';
import type { AppContext, AppDeps, Gate, Identity } from './deps.js';
import { createEnvironmentKeys, type EnvironmentKeys, type OpeningVariable } from './environment-keys.js';
import { createHeld } from './held.js';
import { createRates, type Rates } from './rates.js';
import { sameSecret } from './secrets.js';
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

/** By the name of the gate. */
export const demands = {
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
/** The gates; what the routes of the page's own session need; and what routes with credentials of their own need. */
export type Door = {
  gates: Gates;
  sessions: Sessions;
  rates: Rates;
  /** Lets a sender through whose bearer token is one of these, or a key that may send events. Throws as a gate. */
  admitSender(c: AppContext, secrets: readonly string[]): Promise<void>;
};

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
  const parts = { keys, sessions, rates, keyOf };
  return {
    gates: createGates(parts),
    sessions,
    rates,
    admitSender: (c, secrets) => admitSender(c, secrets, parts),
  };
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
    name(c, identity);
  };
}

function name(c: AppContext, identity: Identity): void {
  c.set('identity', identity);
  c.set('actor', identity.label);
}

/** Not counted against a rate: Alertmanager drops what is answered with 429 (notify/util.go, Retrier). */
async function admitSender(c: AppContext, secrets: readonly string[], parts: Parts): Promise<void> {
  const token = bearerToken(c.req.header('authorization'));
  if (secrets.map((secret) => sameSecret(token, secret)).includes(true)) return;
  const { ingest } = demands;
  const identity = (await parts.keys.holderOf(token, ingest.environment)) ?? (await parts.keyOf(token));
  if (identity === undefined) {
    await parts.rates.countWrongKey(c);
    throw wrong();
  }
  if (!opens(identity, ingest)) throw insufficient(identity, ingest);
  name(c, identity);
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
