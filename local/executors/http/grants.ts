/**
 * `worker_policy.allowed_hosts`: which hosts may be called. Pure.
 *
 * - `api.github.com` is https on its port to public addresses; `*.example.com` is every name below it, not itself.
 * - `http://` in front grants plain http instead; `:8443` behind another port instead.
 * - An address (`127.0.0.1`, `[::1]`) and `localhost` grant themselves. Any other name that leads inside says where to:
 *   `wiki.internal@10.0.0.0/8`, several ranges joined by commas. Nothing grants link-local or metadata addresses.
 */
import { isIP } from 'node:net';
import { hostEntry } from '../../../supabase/client/schemas/policies.js';
import { contains, parseAddress, parseRange, type Range } from './addresses.js';

export type Grant = {
  protocol: string;
  /** As `URL.hostname` writes it. */
  host: string;
  subdomains: boolean;
  /** Empty for the protocol's own. */
  port: string;
  /** Where it may lead beside public addresses. */
  inside: readonly Range[];
};

/** Undefined for an entry that cannot be read: it grants nothing. */
export function parseGrant(entry: string): Grant | undefined {
  const [, scheme = 'https', wildcard, name = '', port = '', ranges] = hostEntry.exec(entry) ?? [];
  if (name === '' || !URL.canParse(`${scheme}://${name}${port}`)) return undefined;
  const url = new URL(`${scheme}://${name}${port}`);
  const inside = ranges === undefined ? ownRanges(url.hostname) : ranges.split(',').map(parseRange);
  if (inside.includes(undefined) || (wildcard !== undefined && isAddress(url.hostname))) return undefined;
  return {
    protocol: url.protocol,
    host: url.hostname,
    subdomains: wildcard !== undefined,
    port: url.port,
    inside: inside.filter((range) => range !== undefined),
  };
}

export const parseGrants = (entries: readonly string[]): Grant[] =>
  entries.map(parseGrant).filter((grant) => grant !== undefined);

/** Who names an address, or localhost, means it. */
const ownRanges = (host: string): (Range | undefined)[] =>
  host === 'localhost'
    ? [parseRange('127.0.0.0/8'), parseRange('::1')]
    : isAddress(host)
      ? [parseRange(host)]
      : [];

const isAddress = (host: string): boolean => isIP(host.replace(/^\[(.*)\]$/, '$1')) !== 0;

export const findGrants = (grants: readonly Grant[], url: URL): Grant[] =>
  grants.filter(
    ({ protocol, port, host, subdomains }) =>
      protocol === url.protocol && port === url.port && matchesHost(url.hostname, host, subdomains),
  );

export const matchesHost = (hostname: string, host: string, subdomains: boolean): boolean =>
  subdomains ? hostname.endsWith(`.${host}`) : hostname === host;

export function grantsInside(grants: readonly Grant[], text: string): boolean {
  const address = parseAddress(text);
  return (
    address !== undefined && grants.some(({ inside }) => inside.some((range) => contains(range, address)))
  );
}
