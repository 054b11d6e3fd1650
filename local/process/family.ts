/** Who belongs to a run: a decision over a table of processes, made anew at every look. */
import type { Entry, Identity } from './table.js';

/** Start times by process id. */
export type Known = ReadonlyMap<number, number>;

export const isKnown = (known: Known, { pid, start }: Identity): boolean => known.get(pid) === start;

/**
 * The processes that are known, that are in the root's process group or session, that `isMarked`, or that descend
 * from one of these. Nobody who started before the root is asked for a mark. Zombies are left out: nothing of them runs.
 */
export function familyOf(
  table: readonly Entry[],
  root: Identity,
  known: Known,
  isMarked: (pid: number) => boolean,
): Entry[] {
  const isStranger = (entry: Entry) => entry.start < root.start || entry.ended;
  const belongs = (entry: Entry) =>
    isKnown(known, entry) ||
    (isOurGroup(table, root) && isTogether(entry, root)) ||
    (!isStranger(entry) && isMarked(entry.pid));
  return withDescendants(table, table.filter(belongs)).filter(({ ended }) => !ended);
}

/** The root's id as a group is its own until a stranger has been given that id, which takes an empty group. */
function isOurGroup(table: readonly Entry[], root: Identity): boolean {
  return !table.some(({ pid, start }) => pid === root.pid && start !== root.start);
}

const isTogether = ({ group, session, start }: Entry, root: Identity): boolean =>
  (group === root.pid || session === root.pid) && start >= root.start;

/** These, and all that descend from them. */
export function withDescendants(table: readonly Entry[], first: Entry[]): Entry[] {
  const children = new Map<number, Entry[]>();
  for (const entry of table) {
    const siblings = children.get(entry.parent);
    if (siblings === undefined) children.set(entry.parent, [entry]);
    else siblings.push(entry);
  }
  const found = new Set(first);
  // A set also gives what is added to it while it is walked.
  for (const { pid } of found) for (const child of children.get(pid) ?? []) found.add(child);
  return [...found];
}
