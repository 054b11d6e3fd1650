/** Processor time of a PostgreSQL server, where its processes are this machine's and /proc shows them (Linux). */
import { readdir, readFile } from 'node:fs/promises';

/** Clock ticks of /proc are hundredths of a second on every Linux that Node runs on (proc(5), USER_HZ). */
const msPerTick = 10;

type Stat = { name: string; parent: number; own: number; reaped: number };

/** Milliseconds that the server of this backend has spent, ended backends included; undefined where nobody says. */
export async function serverCpuMs(backendPid: number): Promise<number | undefined> {
  const backend = await statOf(backendPid);
  // A server elsewhere may have a backend whose number is somebody else's here.
  if (backend === undefined || !backend.name.startsWith('postgres')) return undefined;
  return await familyMs(backend.parent);
}

/** A backend that ends between two looks would be missed, or counted twice: then everything is looked at again. */
async function familyMs(postmaster: number): Promise<number | undefined> {
  const before = await statOf(postmaster);
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((pid) => statOf(Number(pid))));
  const after = await statOf(postmaster);
  if (before === undefined || after === undefined) return undefined;
  if (before.reaped !== after.reaped) return await familyMs(postmaster);
  const children = stats.filter((stat) => stat?.parent === postmaster);
  const ticks = children.reduce((sum, child) => sum + (child?.own ?? 0), after.own + after.reaped);
  return ticks * msPerTick;
}

/** Fields of /proc/<pid>/stat as proc(5) counts them: the name may hold spaces and brackets. */
async function statOf(pid: number): Promise<Stat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const end = text.lastIndexOf(')');
  const field = text
    .slice(end + 2)
    .split(' ')
    .map(Number);
  const [, parent = 0] = field;
  const [utime = 0, stime = 0, cutime = 0, cstime = 0] = field.slice(11, 15);
  return {
    name: text.slice(text.indexOf('(') + 1, end),
    parent,
    own: utime + stime,
    reaped: cutime + cstime,
  };
}
