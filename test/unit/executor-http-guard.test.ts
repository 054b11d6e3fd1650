/** What stands between a step and the network, case by case; the last part proves it with a listener inside. */
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { whereabouts } from '../../local/executors/http/addresses.js';
import { type CallOptions, call } from '../../local/executors/http/call.js';
import { type Grant, parseGrant, parseGrants } from '../../local/executors/http/grants.js';
import { admit, parseTarget, type Resolve } from '../../local/executors/http/guard.js';

/** Addresses of nobody's business, in the notations that resolvers and attackers write. */
const inside = [
  ['127.0.0.1', 'loopback'],
  ['127.255.255.254', 'loopback'],
  ['0.0.0.0', 'this host'],
  ['0.1.2.3', 'this network'],
  ['10.0.0.1', 'private'],
  ['172.16.0.1', 'private'],
  ['172.31.255.255', 'private'],
  ['192.168.1.1', 'private'],
  ['169.254.169.254', 'metadata'],
  ['169.254.0.1', 'link-local'],
  ['100.64.0.1', 'carrier-grade NAT'],
  ['100.100.100.200', 'metadata'],
  ['168.63.129.16', 'metadata on a public address'],
  ['192.0.0.192', 'metadata'],
  ['192.0.2.1', 'documentation'],
  ['192.88.99.1', '6to4 relays'],
  ['198.18.0.1', 'benchmarking'],
  ['203.0.113.9', 'documentation'],
  ['224.0.0.1', 'multicast'],
  ['240.0.0.1', 'reserved'],
  ['255.255.255.255', 'broadcast'],
  ['::', 'unspecified'],
  ['::1', 'loopback'],
  ['0:0:0:0:0:0:0:1', 'loopback in full'],
  ['::127.0.0.1', 'IPv4-compatible'],
  ['::7f00:1', 'IPv4-compatible in hex'],
  ['::ffff:127.0.0.1', 'mapped'],
  ['::ffff:7f00:1', 'mapped in hex'],
  ['::ffff:a9fe:a9fe', 'mapped metadata'],
  ['::ffff:0:127.0.0.1', 'translated'],
  ['64:ff9b::7f00:1', 'NAT64'],
  ['64:ff9b::10.1.2.3', 'NAT64 to private'],
  ['64:ff9b:1::7f00:1', 'local NAT64'],
  ['2002:7f00:1::', '6to4'],
  ['2001:0:5ef5:79fb:0:59e:80ff:fffe', 'Teredo'],
  ['2001:db8::1', 'documentation'],
  ['fc00::1', 'unique local'],
  ['fd00:ec2::254', 'metadata'],
  ['fe80::1', 'link-local'],
  ['fe80::1%eth0', 'link-local with a zone'],
  ['fec0::1', 'site-local'],
  ['ff02::1', 'multicast'],
  ['4000::1', 'not allocated'],
] as const;

describe('an address', () => {
  test.each(inside)('%s (%s) is not public', (address) => {
    expect(whereabouts(address).kind).not.toBe('public');
  });

  test.each(['8.8.8.8', '1.1.1.1', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '64:ff9b::808:808'])(
    '%s is public',
    (address) => {
      expect(whereabouts(address)).toEqual({ kind: 'public', range: 'unicast' });
    },
  );

  test.each(['0x7f.1', '0177.0.0.1', '2130706433', '127.1', 'localhost', '', '1.2.3.4.5', '::1::'])(
    '%j is no address, and so is never called',
    (text) => {
      expect(whereabouts(text).kind).toBe('never');
    },
  );
});

describe('an entry of allowed_hosts', () => {
  const grants = (entry: string, url: string) =>
    admit(parseTarget(url), parseGrants([entry]), async () => [{ address: '8.8.8.8', family: 4 }]).then(
      () => true,
      () => false,
    );

  test.each([
    ['api.example.com', 'https://api.example.com/x?y#z', true],
    ['api.example.com', 'https://API.example.com:443/', true],
    ['api.example.com', 'http://api.example.com/', false],
    ['api.example.com', 'https://api.example.com:8443/', false],
    ['api.example.com', 'https://x.api.example.com/', false],
    ['api.example.com', 'https://example.com/', false],
    ['api.example.com', 'https://api.example.com.evil.test/', false],
    ['api.example.com:8443', 'https://api.example.com:8443/', true],
    ['api.example.com:8443', 'https://api.example.com/', false],
    ['http://api.example.com', 'http://api.example.com/', true],
    ['http://api.example.com', 'https://api.example.com/', false],
    ['*.example.com', 'https://a.b.example.com/', true],
    ['*.example.com', 'https://example.com/', false],
    ['*.example.com', 'https://evilexample.com/', false],
    ['*', 'https://example.com/', false],
    ['*.*', 'https://example.com/', false],
    ['https://example.com/path', 'https://example.com/path', false],
    ['example.com@nonsense', 'https://example.com/', false],
  ])('%s grants %s: %s', async (entry, url, granted) => {
    expect(await grants(entry, url)).toBe(granted);
  });

  test('that cannot be read grants nothing', () => {
    for (const entry of ['', '*', 'a b', 'user@example.com@10.0.0.0/8', 'a.test@10.0.0.0/33', '*.127.0.0.1'])
      expect(parseGrant(entry), entry).toBeUndefined();
  });

  const leadsTo = (entry: string, url: string, address: string) =>
    admit(parseTarget(url), parseGrants([entry]), async () => [{ address, family: 4 }]);

  test('says which inside a name may lead to, and no entry grants link-local or metadata', async () => {
    const entry = 'wiki.internal@10.0.0.0/8,fd00::/8';
    for (const address of ['10.1.2.3', '::ffff:10.1.2.3', 'fd12::1', '8.8.8.8'])
      expect(await leadsTo(entry, 'https://wiki.internal/', address)).toHaveLength(1);
    for (const address of ['192.168.0.1', '127.0.0.1', 'fd00:ec2::254'])
      await expect(leadsTo(entry, 'https://wiki.internal/', address)).rejects.toMatchObject({
        outcome: 'permanent',
        errorClass: 'HostRefused',
      });
    const wide = 'wiki.internal@0.0.0.0/0,::/0';
    for (const address of ['169.254.169.254', '0.0.0.0', 'fe80::1', '224.0.0.1', '168.63.129.16'])
      await expect(leadsTo(wide, 'https://wiki.internal/', address)).rejects.toMatchObject({
        hint: 'Nothing can grant this range.',
      });
  });

  test('that is an address or localhost grants itself', async () => {
    const nobody: Resolve = () => Promise.reject(new Error('an address is not looked up'));
    for (const [entry, url] of [
      ['http://127.0.0.1:8080', 'http://127.0.0.1:8080/x'],
      ['http://127.0.0.1:8080', 'http://2130706433:8080/'],
      ['http://[::1]:8080', 'http://[0:0::1]:8080/'],
    ] as const)
      expect(await admit(parseTarget(url), parseGrants([entry]), nobody)).toHaveLength(1);
    expect(await leadsTo('http://localhost:80', 'http://localhost/', '127.0.0.1')).toHaveLength(1);
    await expect(leadsTo('http://localhost', 'http://localhost/', '10.0.0.1')).rejects.toMatchObject({
      errorClass: 'HostRefused',
    });
  });
});

describe('a URL', () => {
  test.each([
    ['file:///etc/passwd', 'https: and http: are'],
    ['ftp://example.com/', 'https: and http: are'],
    ['unix:/var/run/docker.sock', 'https: and http: are'],
    ['data:text/plain,x', 'https: and http: are'],
    ['https://user@example.com/', 'user name or password'],
    ['https://example.com:pw@127.0.0.1/', 'user name or password'],
    ['https://localhost./', 'ends with a dot'],
    ['https://127.0.0.1./', 'may not be called'],
    ['https://example.com:99999/', 'cannot be read'],
    ['https://[fe80::1%25eth0]/', 'cannot be read'],
    ['example.com/x', 'cannot be read'],
    ['', 'cannot be read'],
    [`https://example.com/${'x'.repeat(9_000)}`, 'cannot be read'],
  ])('%s is refused: %s', async (text, why) => {
    const look = async () => admit(parseTarget(text), parseGrants(['example.com']), async () => []);
    await expect(look()).rejects.toMatchObject({
      outcome: 'permanent',
      errorClass: 'HostRefused',
      message: expect.stringContaining(why),
    });
  });
});

describe('a listener inside', () => {
  let listener: Server;
  let port = 0;
  let connections = 0;
  beforeAll(async () => {
    listener = createServer((socket) => {
      connections++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    port = (listener.address() as AddressInfo).port;
  });
  afterAll(() => new Promise((resolve) => listener.close(resolve)));

  const options = (grants: readonly Grant[], resolve: Resolve): CallOptions => ({
    ...{ grants, resolve, signal: AbortSignal.timeout(10_000), timeoutSeconds: 5, keepBytes: 100 },
    ...{ mayRepeat: true, maxRedirects: 3 },
  });
  const attempt = (url: string, grants: readonly Grant[], resolve: Resolve) =>
    call({ method: 'GET', url: parseTarget(url), headers: {} }, options(grants, resolve));

  /** Grants whatever host it is asked for, so that only the look at the address is left. */
  const careless = (url: string): Grant[] => [
    {
      protocol: 'http:',
      host: new URL(url).hostname,
      subdomains: false,
      port: new URL(url).port,
      inside: [],
    },
  ];

  test.each([
    '127.0.0.1',
    '127.1',
    '0x7f.0.0.1',
    '0x7f000001',
    '0177.0.0.01',
    '2130706433',
    '017700000001',
    '127.0.0.1%00',
    '１２７.0.0.1',
    '127。0。0。1',
    '0',
    '[::]',
    '[::1]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[64:ff9b::7f00:1]',
    '[::127.0.0.1]',
    '[2002:7f00:1::]',
    'localhost',
    'LOCALHOST',
    'localhost.',
    'target.test#@127.0.0.1',
    'target.test@127.0.0.1',
    '127.0.0.1\\@target.test',
  ])('is not reached as %s', async (host) => {
    const url = `http://${host}:${port}/`;
    const loopback: Resolve = async () => [{ address: '127.0.0.1', family: 4 }];
    const refused = async () => {
      const target = parseTarget(url);
      return attempt(target.href, careless(target.href), loopback);
    };
    await expect(refused()).rejects.toMatchObject({ outcome: 'permanent', errorClass: 'HostRefused' });
    expect(connections).toBe(0);
  });

  test.each(inside)('is not reached when a name leads to %s (%s)', async (address) => {
    const url = `http://target.test:${port}/`;
    const family = address.includes(':') ? 6 : 4;
    const answers: Resolve = async () => [
      { address: '8.8.8.8', family: 4 },
      { address, family },
    ];
    await expect(attempt(url, careless(url), answers)).rejects.toMatchObject({ errorClass: 'HostRefused' });
    expect(connections).toBe(0);
  });

  test('is not reached by a name that leads outside when asked and inside a moment later', async () => {
    // This name leads to the listener for whoever asks the system, and not our resolver, again.
    const url = `http://localhost:${port}/`;
    const asked: string[] = [];
    const rebinding: Resolve = async () => {
      asked.push('again');
      // 127.0.0.2 stands for a public address here: granted, and nothing answers there.
      return [{ address: asked.length === 1 ? '127.0.0.2' : '127.0.0.1', family: 4 }];
    };
    const grants = parseGrants([`http://localhost:${port}@127.0.0.2`]);
    const given = options(grants, rebinding);
    await expect(
      call(
        { method: 'GET', url: parseTarget(url), headers: {} },
        { ...given, timeoutSeconds: 0.2, mayRepeat: false },
      ),
    ).rejects.toMatchObject({ outcome: 'retryable', errorClass: 'NotSent' });
    expect(asked).toHaveLength(1);
    expect(connections).toBe(0);
  });

  test('is reached when it is granted, so the test would see a connection', async () => {
    const grants = parseGrants([`http://127.0.0.1:${port}`]);
    await expect(
      attempt(`http://127.0.0.1:${port}/`, grants, () => Promise.reject(new Error('no name'))),
    ).rejects.toMatchObject({ errorClass: 'BrokenOff' });
    expect(connections).toBe(1);
  });
});
