/**
 * What stands between a step and the network (OWASP, Server-Side Request Forgery Prevention): the host has to be
 * granted, its name is resolved once, every address it has is looked at, and the connection goes to those addresses
 * and to no other. A name that answers differently a moment later is of no use to anybody.
 */
import { lookup } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import { buildConnector } from 'undici';
import { StepError } from '../contract.js';
import { parseAddress, whereabouts } from './addresses.js';
import { findGrants, type Grant, grantsInside } from './grants.js';

export type Resolved = { address: string; family: number };
export type Resolve = (hostname: string) => Promise<Resolved[]>;

export const resolveName: Resolve = (hostname) => lookup(hostname, { all: true });

/** Longest address that is taken; servers refuse longer ones themselves (RFC 9110, 4.1 asks for 8000). */
const maxUrlChars = 8_000;

/**
 * The address that a step names: text of events in its path cannot climb out of it, nor be read in two ways (URL
 * standard, 4.4: tabs and newlines vanish, backslashes are slashes). Throws a permanent `StepError`.
 */
export function parseStepUrl(text: string): URL {
  if (/[\s\\]|\p{Cc}/u.test(text)) throw refused('the URL holds a space, a control character or a backslash');
  if (/(^|[/\\])(\.|%2e){1,2}($|[/?#])/i.test(text))
    throw refused('the path of the URL holds . or .. as a part');
  return parseTarget(text);
}

/** The parsed address of a call; numbers for hosts become plain IPv4 here. Throws a permanent `StepError`. */
export function parseTarget(text: string, base?: URL): URL {
  if (text.length > maxUrlChars || !URL.canParse(text, base?.href)) throw refused('the URL cannot be read');
  const url = new URL(text, base);
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw refused(`${url.protocol} is not called, https: and http: are`);
  if (url.username !== '' || url.password !== '')
    throw refused('the URL holds a user name or password', 'Send credentials in a header, by reference.');
  if (url.hostname.endsWith('.')) throw refused('the host ends with a dot', 'Write the host without it.');
  url.hash = '';
  return url;
}

/** Where a call may connect to. Throws a permanent `StepError`, or a retryable one when the name does not resolve. */
export async function admit(url: URL, grants: readonly Grant[], resolve: Resolve): Promise<Resolved[]> {
  const found = findGrants(grants, url);
  if (found.length === 0)
    throw refused(
      `${url.origin} may not be called`,
      'Grant the host in worker_policy.allowed_hosts if steps may call it.',
    );
  const addresses = await addressesOf(url, resolve);
  for (const { address } of addresses) check(url, address, found);
  return addresses;
}

async function addressesOf({ hostname }: URL, resolve: Resolve): Promise<Resolved[]> {
  const literal = hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(literal) !== 0) return [{ address: literal, family: isIP(literal) }];
  const addresses = await resolve(hostname).catch((cause: unknown) => {
    throw new StepError(`${hostname} could not be resolved`, { errorClass: 'NotSent', cause });
  });
  if (addresses.length > 0) return addresses;
  throw new StepError(`${hostname} has no address`, { errorClass: 'NotSent' });
}

/** One address that leads elsewhere refuses the whole name. */
function check({ hostname }: URL, address: string, grants: readonly Grant[]): void {
  const { kind, range } = whereabouts(address);
  if (kind === 'public' || (kind === 'inside' && grantsInside(grants, address))) return;
  throw refused(
    `${hostname} leads to an address that may not be called (${range})`,
    kind === 'never'
      ? 'Nothing can grant this range.'
      : `If it is meant, grant it in worker_policy.allowed_hosts as ${hostname}@<range>.`,
  );
}

/** Connects to the addresses that were looked at, and makes sure that it did. `onConnect` comes before a byte is sent. */
export function pinnedConnector(
  addresses: readonly Resolved[],
  connectMs: number,
  onConnect: () => void,
): buildConnector.connector {
  const pinned: LookupFunction = (_, { all }, answer) => {
    const [first] = addresses;
    if (all === true) answer(null, [...addresses]);
    else answer(null, first?.address ?? '', first?.family ?? 0);
  };
  const known = new Set(addresses.map(({ address }) => written(address)));
  const connect = buildConnector({ lookup: pinned, timeout: connectMs });
  return (options, done) =>
    connect(options, (...[error, socket]) => {
      if (error !== null) return done(error, null);
      if (!known.has(written(socket.remoteAddress ?? ''))) {
        socket.destroy();
        return done(new Error('the connection went to an address that nobody looked at'), null);
      }
      onConnect();
      done(null, socket);
    });
}

const written = (address: string): string => parseAddress(address)?.toNormalizedString() ?? address;

const refused = (message: string, hint?: string): StepError =>
  new StepError(message, { outcome: 'permanent', errorClass: 'HostRefused', hint });
