/**
 * Where an address leads: out into the internet, to somewhere inside, or to where no call may ever go. Pure.
 *
 * Ranges are those of ipaddr.js, after IANA's special-purpose registries. Of IPv6 only 2000::/3 is public (RFC 4291, 2.4).
 * IPv4 in IPv6 clothes is judged by the address inside, where that is well defined: mapped (`::ffff:0:0/96`) and the
 * well-known NAT64 prefix (`64:ff9b::/96`, RFC 6052), behind which an IPv6-only host sees all of IPv4. Tunnels (6to4,
 * Teredo, `::/96`) end nobody knows where and are not public.
 */
import ipaddr from 'ipaddr.js';

type Address = ReturnType<typeof ipaddr.parse>;
export type Range = [Address, number];

/** `inside` may be granted by name, `never` may not. `range` says which one it lies in. */
export type Whereabouts = { kind: 'public' | 'inside' | 'never'; range: string };

/** What every machine has and no call has business with. */
const neverRanges = new Set(['unspecified', 'linkLocal', 'multicast', 'broadcast', 'deprecatedSiteLocal']);

/** Instance metadata outside of link-local: AWS (IPv6), Alibaba, Azure, Oracle; from each provider's manual. */
const metadata = ['fd00:ec2::254', '100.100.100.200', '168.63.129.16', '192.0.0.192'].map((text) =>
  ipaddr.parse(text).toNormalizedString(),
);
const wellKnownNat64 = ipaddr.parseCIDR('64:ff9b::/96');
const globalUnicast = ipaddr.parseCIDR('2000::/3');

/** Anything that is no plain address, one with a zone too, is `never`. */
export function whereabouts(text: string): Whereabouts {
  const address = parseAddress(text);
  if (address === undefined) return { kind: 'never', range: 'no address' };
  if (metadata.includes(address.toNormalizedString())) return { kind: 'never', range: 'metadata' };
  const range = rangeOf(address);
  if (range === 'unicast') return { kind: 'public', range };
  return { kind: neverRanges.has(range) ? 'never' : 'inside', range };
}

function rangeOf(address: Address): string {
  const range: string = address.range();
  if (address instanceof ipaddr.IPv4 || range !== 'unicast') return range;
  return contains(globalUnicast, address) ? range : 'not global unicast';
}

/** The address, IPv4 taken out of its IPv6 clothes; undefined for anything else. */
export function parseAddress(text: string): Address | undefined {
  const bare = text.replace(/^\[(.*)\]$/, '$1');
  // ipaddr.js would also take short and octal forms, which mean different things to different readers.
  if (bare.includes('%') || !isStrict(bare)) return undefined;
  const address = ipaddr.process(bare);
  if (!(address instanceof ipaddr.IPv6) || !contains(wellKnownNat64, address)) return address;
  return ipaddr.fromByteArray(address.toByteArray().slice(12));
}

const isStrict = (text: string): boolean =>
  text.includes(':') ? ipaddr.IPv6.isValid(text) : ipaddr.IPv4.isValidFourPartDecimal(text);

/** `10.0.0.0/8`, or one address; undefined for anything else. */
export function parseRange(text: string): Range | undefined {
  const [start = '', bits] = text.split('/');
  const address = parseAddress(start);
  if (address === undefined) return undefined;
  const width = address instanceof ipaddr.IPv4 ? 32 : 128;
  const length = bits === undefined ? width : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  return length <= width ? [address, length] : undefined;
}

export function contains([start, length]: Range, address: Address): boolean {
  if (start instanceof ipaddr.IPv4) return address instanceof ipaddr.IPv4 && address.match(start, length);
  return address instanceof ipaddr.IPv6 && address.match(start, length);
}
