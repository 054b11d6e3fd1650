/**
 * `npm run drill -- --hosts`: a database on one host, a worker on each of two others, as network namespaces. One
 * worker is cut off past its lease, the other finishes, the link is mended. The drill itself runs on the database's
 * host, as a process of its own; this is what prepares the hosts and removes them, whatever happens.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { knowHosts, makeHosts, removeHosts, removeOrphans, whyNoHosts } from './namespaces.js';

export const hostNames = ['one', 'two'];
const inside = fileURLToPath(new URL('./hosts-inside.ts', import.meta.url));

export type HostsOptions = { seed: number; minutes: number; json: boolean };

/** Answers the exit code; 0 also when it was skipped, which it says. */
export async function runHostsDrill({ seed, minutes, json }: HostsOptions): Promise<number> {
  const reason = whyNoHosts();
  if (reason !== undefined) {
    process.stdout.write(json ? `${JSON.stringify({ skipped: reason })}\n` : `hosts: skipped, ${reason}\n`);
    return 0;
  }
  await removeOrphans();
  const stopped = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped.abort());
  try {
    await makeHosts(hostNames, process.pid);
    const { base } = knowHosts(hostNames, process.pid);
    const words = ['netns', 'exec', base, process.execPath, '--import', 'tsx', inside];
    const options = JSON.stringify({ seed, minutes, json, owner: process.pid });
    const child = spawn('ip', [...words, options], { stdio: 'inherit' });
    stopped.signal.addEventListener('abort', () => child.kill('SIGTERM'));
    const [code] = (await once(child, 'close')) as [number | null];
    return code ?? 1;
  } finally {
    await removeHosts(hostNames, process.pid);
  }
}
