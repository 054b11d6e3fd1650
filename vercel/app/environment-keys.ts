/**
 * The secrets of the environment that open a route. OPS_API_KEY_PREVIOUS goes on for a day after any instance first had
 * the OPS_API_KEY beside it; instances share no memory, so the database keeps when that was, by a fingerprint.
 */
import { createHmac } from 'node:crypto';
import { fromDatabase, OpsError } from '../../supabase/client/errors.js';
import type { AppDeps, Identity } from './deps.js';
import { type ControlEnv, minApiKeyLength, minSecretLength } from './env.js';
import { sameSecret } from './secrets.js';

export type OpeningVariable = 'OPS_API_KEY' | 'CRON_SECRET';

/** A day to change every caller over: the overlap that a rotation needs, and the most that a leaked key gets. */
const previousLifeMs = 24 * 3_600_000;
/** How often an instance says again which secrets it has. */
const tellAgainMs = 3_600_000;
/** After a failure; a database that is away must not slow every request down. */
const tellPauseMs = 10_000;
const tellDeadlineMs = 2_000;

const leastLength = { OPS_API_KEY: minApiKeyLength, CRON_SECRET: minSecretLength };
const holders: Record<OpeningVariable, Identity> = {
  OPS_API_KEY: { scope: 'operator', label: 'api-key', by: 'environment', keyId: null },
  CRON_SECRET: { scope: 'scheduler', label: 'cron', by: 'environment', keyId: null },
};

export type EnvironmentKeys = {
  /** The secret of a variable; undefined when it is unset or too short, so that it opens nothing. */
  current(variable: OpeningVariable): string | undefined;
  /** OPS_API_KEY_PREVIOUS beside a usable OPS_API_KEY; whether its day is over says `previousHolds`. */
  previous(): string | undefined;
  /** Throws `OPS_001` when the database cannot say since when the current key is there. */
  previousHolds(): Promise<boolean>;
  /** Whose secret this is, of the accepted variables. Throws as `previousHolds`. */
  holderOf(token: string, accepted: readonly OpeningVariable[]): Promise<Identity | undefined>;
  /** Says to the database which secrets this instance has, once in a while; a failure is only logged. */
  tell(): Promise<void>;
};

type Deps = Pick<AppDeps, 'port' | 'env' | 'log' | 'now'>;

export function createEnvironmentKeys(deps: Deps): EnvironmentKeys {
  const { env } = deps;
  const { tell, ageMs } = createSightings(deps);
  const current = (variable: OpeningVariable) => usable(env[variable], leastLength[variable]);
  const previous = () =>
    current('OPS_API_KEY') === undefined ? undefined : usable(env.OPS_API_KEY_PREVIOUS, minApiKeyLength);
  const previousHolds = async () => (await ageMs('OPS_API_KEY')) < previousLifeMs;

  /** Every secret is compared, so the time taken does not say which one matched. */
  const holderOf: EnvironmentKeys['holderOf'] = async (token, accepted) => {
    const is = (secret: string | undefined) => secret !== undefined && sameSecret(token, secret);
    const [variable] = accepted.filter((name) => is(current(name)));
    const wasCurrent = is(previous()) && accepted.includes('OPS_API_KEY');
    if (variable !== undefined) return holders[variable];
    return wasCurrent && (await previousHolds()) ? holders.OPS_API_KEY : undefined;
  };
  return { current, previous, previousHolds, holderOf, tell };
}

/** When the secrets of this instance were first seen by any. `ageMs` throws `OPS_001` when the database cannot say. */
function createSightings({ port, env, log, now }: Deps) {
  const fingerprints = fingerprintsOf(env);
  let seen: { ages: Record<string, number>; at: number } | undefined;
  let tellAt = Number.NEGATIVE_INFINITY;

  const look = async (): Promise<void> => {
    const at = now().getTime();
    tellAt = at + tellPauseMs;
    seen = { ages: await port.seeSecrets({ secrets: fingerprints }, { deadlineMs: tellDeadlineMs }), at };
    tellAt = at + tellAgainMs;
  };
  const tell = async (): Promise<void> => {
    if (now().getTime() < tellAt || Object.keys(fingerprints).length === 0) return;
    await look().catch((error) =>
      log.warn({ event: 'http.secrets_not_noted', code: fromDatabase(error).code }),
    );
  };
  const ageMs = async (name: OpeningVariable): Promise<number> => {
    if (seen === undefined) await look();
    const age = seen?.ages[name];
    if (seen === undefined || age === undefined)
      throw new OpsError('OPS_001', `the age of ${name} is unknown`);
    return age * 1_000 + (now().getTime() - seen.at);
  };
  return { tell, ageMs };
}

const usable = (secret: string | undefined, least: number): string | undefined =>
  secret !== undefined && secret.length >= least ? secret : undefined;

/** Every secret of the environment by its name; what was there before needs no age. */
function fingerprintsOf(env: ControlEnv): Record<string, string> {
  const secrets = Object.entries({ ...env, ...env.webhooks }).filter(
    (entry): entry is [string, string] =>
      /^(OPS_API_KEY|CRON_SECRET|[A-Z0-9_]+_WEBHOOK_SECRET|OPS_WEBHOOK_[A-Z0-9_]+_SECRET)$/.test(entry[0]) &&
      typeof entry[1] === 'string',
  );
  return Object.fromEntries(secrets.map(([name, secret]) => [name, fingerprint(name, secret)]));
}

/** Nobody gets from here to the secret, nor to the hash under which a key is looked up. */
const fingerprint = (name: string, secret: string): string =>
  createHmac('sha256', secret).update(`ops-loop secret ${name}`).digest('hex');
