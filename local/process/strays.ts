/**
 * Ends what a killed worker left behind. SIGKILL gives a worker no time to end its programs, and its steps run again
 * elsewhere once their leases end; what still runs of the first try would work beside the second.
 */

import { brandOf, giverOf } from './brand.js';
import { isKnown, withDescendants } from './family.js';
import { type Marker, markersOf, namespaceOf } from './marker.js';
import { type Entry, hasProc, type Identity, readTable } from './table.js';
import { goneWithin, signalTo } from './tree.js';

/** They have lost their reader already; this is for locks and temporary files. */
const graceMs = 2_000;
const killedWithinMs = 3_000;

/**
 * Ends every process on this machine whose marks name a worker process that is dead, and what descends from it: TERM,
 * two seconds, KILL. Answers who they were. Ends nobody where there is no /proc to read marks from, and nobody who
 * belongs to another user or another container.
 */
export async function sweepStrays(): Promise<Identity[]> {
  if (!hasProc) return [];
  const found = new Map<number, number>();
  const namespace = namespaceOf(process.pid);
  const look = () => {
    const table = readTable();
    const isOrphan = orphansIn(table, namespace);
    const strays = straysOf(table, (entry) => isKnown(found, entry) || isOrphan(entry), process.pid);
    for (const { pid, start } of strays) found.set(pid, start);
    return strays;
  };
  const send = (signal: NodeJS.Signals) => {
    for (const { pid } of look()) signalTo(pid, signal);
  };
  send('SIGTERM');
  if (!(await goneWithin(look, graceMs))) await goneWithin(look, killedWithinMs, () => send('SIGKILL'));
  return [...found].map(([pid, start]) => ({ pid, start }));
}

/** Do the marks of a process name a worker that is dead? */
function orphansIn(table: readonly Entry[], namespace: string): (entry: Entry) => boolean {
  const all = new Map(table.map((entry) => [entry.pid, entry]));
  const isDead = (pid: number, startedAt: (start: number) => boolean) => {
    const entry = all.get(pid);
    return entry === undefined ? !isHidden(pid) : entry.ended || !startedAt(entry.start);
  };
  const isOrphaned = ({ namespace: inside, worker }: Marker) =>
    inside === namespace && isDead(worker.pid, (start) => start === worker.start);
  return ({ pid }) => {
    if (markersOf(pid).some(isOrphaned)) return true;
    const brand = brandOf(pid);
    if (brand === undefined || namespaceOf(pid) !== namespace) return false;
    const giver = giverOf(brand);
    return isDead(giver.pid, giver.startedAt);
  };
}

/** A /proc that is mounted with hidepid does not show the processes of others. */
function isHidden(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The living that are strays, and what descends from them; never `pid` or one that it descends from. */
export function straysOf(table: readonly Entry[], isStray: (entry: Entry) => boolean, pid: number): Entry[] {
  const line = lineOf(table, pid);
  const mayEnd = (entry: Entry) => !entry.ended && !line.has(entry.pid);
  const strays = table.filter((entry) => mayEnd(entry) && isStray(entry));
  return withDescendants(table, strays).filter(mayEnd);
}

/** A process and its ancestors. */
function lineOf(table: readonly Entry[], pid: number): Set<number> {
  const parents = new Map(table.map((entry) => [entry.pid, entry.parent]));
  const line = new Set<number>();
  for (let at: number | undefined = pid; at !== undefined && !line.has(at); at = parents.get(at))
    line.add(at);
  return line;
}
