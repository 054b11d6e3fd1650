import { readFileSync } from 'node:fs';
import type { Client } from 'pg';

/** USER_HZ of Linux, in which /proc counts (proc(5)). */
const msPerTick = 10;

/**
 * Answers a clock of the milliseconds that a connection's backend has worked so far, or undefined where it cannot be
 * seen: another system, or another machine. Unlike the time on the wall, it does not run faster on a busy machine.
 */
export async function backendCpu(client: Client): Promise<(() => number) | undefined> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  const folder = `/proc/${rows[0]?.pid}`;
  try {
    if (!readFileSync(`${folder}/cmdline`, 'utf8').startsWith('postgres')) return undefined;
  } catch {
    return undefined;
  }
  return () => {
    const stat = readFileSync(`${folder}/stat`, 'utf8');
    // utime and stime, the 14th and 15th field; the second is a name in brackets that may hold blanks.
    const [user = 0, system = 0] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13)
      .map(Number);
    return (user + system) * msPerTick;
  };
}

/** Milliseconds of the processor that this process spends on some work; what others take from it does not count. */
export function cpuMsOf(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}
