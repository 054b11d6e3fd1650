/**
 * Hosts of a drill, as network namespaces of one Linux machine: `base` in the middle, a link of its own to each other.
 * Addresses are of the block for documentation (192.0.2.0/24, RFC 5737) and exist inside these namespaces only.
 */
import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import { isAlive } from '../../local/embedded/server-file.js';

const run = promisify(execFile);
const prefix = 'ops-drill-';
const ip = (...words: string[]) => run('ip', words);

export type Hosts = {
  base: string;
  /** Namespace of a host, and the address at which it reaches `base`. */
  of(name: string): { namespace: string; baseAddress: string };
  /** Everything sent between `base` and a host is lost until it is mended. */
  cut(name: string): Promise<void>;
  mend(name: string): Promise<void>;
};

/** Why there can be no hosts here, or undefined. */
export function whyNoHosts(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces are a thing of Linux';
  if (process.getuid?.() !== 0) return 'making network namespaces needs root';
  const probe = `${prefix}${process.pid}-probe`;
  try {
    execFileSync('ip', ['netns', 'add', probe], { stdio: 'pipe' });
    execFileSync('ip', ['netns', 'delete', probe], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: unknown };
    return code === 'ENOENT' ? 'iproute2 is not installed' : `ip netns add: ${String(stderr).trim()}`;
  }
}

/** What an earlier run left because it was killed: its pid is in the names. */
export async function removeOrphans(): Promise<void> {
  const { stdout } = await ip('netns', 'list');
  for (const [name = ''] of stdout.split('\n').map((line) => line.split(' '))) {
    const pid = Number.parseInt(name.slice(prefix.length), 10);
    if (name.startsWith(prefix) && pid > 0 && !isAlive(pid)) await ip('netns', 'delete', name);
  }
}

const namespaceOf = (pid: number, host: string): string => `${prefix}${pid}-${host}`;

/** Makes `base` and the hosts; `owner` is the pid that removes them. */
export async function makeHosts(names: string[], owner: number): Promise<void> {
  for (const host of ['base', ...names]) {
    await ip('netns', 'add', namespaceOf(owner, host));
    await ip('-n', namespaceOf(owner, host), 'link', 'set', 'lo', 'up');
  }
  for (const [n, name] of names.entries()) await link(owner, name, n);
}

async function link(owner: number, name: string, n: number): Promise<void> {
  const [base, host] = [namespaceOf(owner, 'base'), namespaceOf(owner, name)];
  await ip('-n', base, 'link', 'add', `to-${name}`, 'type', 'veth', 'peer', 'name', 'uplink', 'netns', host);
  await ip('-n', base, 'address', 'add', `${addressOf(n, 1)}/30`, 'dev', `to-${name}`);
  await ip('-n', host, 'address', 'add', `${addressOf(n, 2)}/30`, 'dev', 'uplink');
  await ip('-n', base, 'link', 'set', `to-${name}`, 'up');
  await ip('-n', host, 'link', 'set', 'uplink', 'up');
}

/** A /30 for each link: 192.0.2.1 and .2, .5 and .6, … */
const addressOf = (link: number, side: 1 | 2): string => `192.0.2.${link * 4 + side}`;

/** Interfaces go with their namespaces. */
export async function removeHosts(names: string[], owner: number): Promise<void> {
  for (const host of ['base', ...names])
    await ip('netns', 'delete', namespaceOf(owner, host)).catch(() => undefined);
}

export function knowHosts(names: string[], owner: number): Hosts {
  const base = namespaceOf(owner, 'base');
  const turn = async (name: string, state: 'up' | 'down') =>
    void (await ip('-n', base, 'link', 'set', `to-${name}`, state));
  return {
    base,
    of: (name) => ({ namespace: namespaceOf(owner, name), baseAddress: addressOf(names.indexOf(name), 1) }),
    cut: (name) => turn(name, 'down'),
    mend: (name) => turn(name, 'up'),
  };
}
