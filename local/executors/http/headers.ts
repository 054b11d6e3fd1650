/** The headers of a call: what the step says, secrets filled in where policy lets them go, and our own. */
import { StepError } from '../contract.js';
import { matchesHost } from './grants.js';
import type { Params } from './params.js';

export type SecretGrants = Readonly<Record<string, readonly string[]>>;
export type Headers = { headers: Record<string, string>; secretHeaders: Set<string> };

/** Written by the client itself, about the connection, or ours alone. */
const reserved =
  /^(host|content-length|transfer-encoding|connection|keep-alive|upgrade|te|trailer|expect|accept-encoding|idempotency-key|proxy-.*)$/;
/** A value written out in a template would be stored in every row that the step leaves. */
const onlyByReference = ['authorization', 'cookie', 'x-api-key'];
/** What the loop itself lives on never goes out, whatever a policy says. */
const ownSecrets =
  /^(DATABASE_URL$|SUPABASE_|PG[A-Z]|OPS_API_KEY|CRON_SECRET|[A-Z]+_WEBHOOK_SECRET|OPS_WEBHOOK_)/;

/** Throws a permanent `StepError` for a header that may not be set, or a secret that may not go to this host. */
export function buildHeaders(
  { headers = {}, body, json }: Pick<Params, 'headers' | 'body' | 'json'>,
  { hostname }: URL,
  grants: SecretGrants,
  secret: (name: string) => string | undefined,
): Headers {
  const built: Record<string, string> = { accept: '*/*', 'user-agent': 'ops-loop' };
  const secretHeaders = new Set<string>();
  if (json !== undefined) built['content-type'] = 'application/json';
  else if (body !== undefined) built['content-type'] = 'text/plain; charset=utf-8';
  for (const [given, value] of Object.entries(headers)) {
    const name = given.toLowerCase();
    if (reserved.test(name)) throw wrong(`the header ${name} is not a step's to set`);
    if (typeof value === 'string') built[name] = literal(name, value);
    else {
      const text = grantedSecret(value.secret, hostname, grants, secret);
      built[name] = sendable(name, value.scheme === undefined ? text : `${value.scheme} ${text}`);
      secretHeaders.add(name);
    }
  }
  return { headers: built, secretHeaders };
}

function literal(name: string, value: string): string {
  if (!onlyByReference.includes(name)) return sendable(name, value);
  throw wrong(
    `the header ${name} is written out`,
    `Write {"secret": "<VARIABLE>"}, and grant it in worker_policy.allowed_secrets.`,
  );
}

/** Field values are visible ASCII, spaces and tabs (RFC 9110, 5.5). */
function sendable(name: string, value: string): string {
  if (/^[\t\x20-\x7e]*$/.test(value)) return value;
  throw wrong(`the header ${name} has characters that headers cannot carry`);
}

function grantedSecret(
  name: string,
  hostname: string,
  grants: SecretGrants,
  secret: (name: string) => string | undefined,
): string {
  const hosts = Object.hasOwn(grants, name) ? (grants[name] ?? []) : [];
  const mayGo = hosts.some((host) => matchesHost(hostname, host.replace(/^\*\./, ''), host.startsWith('*.')));
  if (!mayGo)
    throw wrong(
      `the secret ${name} may not be sent to ${hostname}`,
      `Grant it: worker_policy.allowed_secrets = {"${name}": ["${hostname}"]}.`,
      'SecretRefused',
    );
  return presentSecret(name, secret);
}

/** Throws a permanent `StepError` for a secret of the loop itself, and when the variable is not set here. */
export function presentSecret(name: string, secret: (name: string) => string | undefined): string {
  if (ownSecrets.test(name))
    throw wrong(`${name} is the loop's own secret and is never sent`, undefined, 'SecretRefused');
  const value = secret(name)?.trim() ?? '';
  if (value !== '') return value;
  throw wrong(`the variable ${name} is not set here`, 'Set it where the worker runs.', 'SecretMissing');
}

const wrong = (message: string, hint?: string, errorClass = 'InvalidParams'): StepError =>
  new StepError(message, { outcome: 'permanent', errorClass, hint });
