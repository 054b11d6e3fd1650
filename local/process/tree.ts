/**
 * All processes of one run: its group and session, what carries its marks, and what descends from these. They are
 * looked for again and again while it runs, because where there are no marks (no /proc, or a cleared environment and
 * no brand) a process that leaves its session and whose parent ends can be told from others only by having been seen.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { familyOf } from './family.js';
import { type Entry, type Identity, readTable } from './table.js';

/** The first look comes early, because programs start their helpers early; later ones are a second apart. */
const firstLookMs = 10;
const lastLookMs = 1_000;
/** Looking takes no more than this share of one processor, however many processes there are. */
const lookShare = 0.02;
/** After KILL only a process inside an uninterruptible system call is still there. */
const killedWithinMs = 3_000;
/** What was forked while it was looked for is met the next time. */
const exitKills = 3;

export type Tree = {
  /** What of it is alive now. */
  look(): Entry[];
  /** TERM, and after the grace KILL, until nothing is left. Answers what could not be ended: normally nothing. */
  end(graceMs: number): Promise<Entry[]>;
  /** KILL, without waiting: for a process that is about to end itself. */
  kill(): void;
  /** Stops looking. */
  leave(): void;
};

export type Root = {
  root: Identity;
  /** Once its exit was taken note of, its id may be somebody else's. */
  isReaped(): boolean;
  /** Does this process carry the marks of the run? */
  isMarked(pid: number): boolean;
};

/** Begins to look. */
export function watchTree({ root, isReaped, isMarked }: Root): Tree {
  let known = new Map([[root.pid, root.start]]);
  const look = () => {
    const living = familyOf(readTable(), root, known, isMarked);
    known = new Map(living.map(({ pid, start }) => [pid, start]));
    return living;
  };
  /** The group at once, then each that has left it: to some programs a second TERM means to drop everything. */
  const send = (signal: NodeJS.Signals) => {
    const hasGroup = !isReaped();
    if (hasGroup) signalTo(-root.pid, signal);
    for (const { pid, group } of look()) if (!hasGroup || group !== root.pid) signalTo(pid, signal);
  };
  const end = async (graceMs: number) => {
    send('SIGTERM');
    if (await goneWithin(look, graceMs)) return [];
    await goneWithin(look, killedWithinMs, () => send('SIGKILL'));
    return look();
  };
  const kill = () => {
    for (let time = 0; time < exitKills; time++) send('SIGKILL');
  };
  return { look, end, kill, leave: repeatLook(look) };
}

/** Looks at growing distances, after `before`; true as soon as nothing is left. What cannot be seen counts as left. */
export async function goneWithin(look: () => Entry[], ms: number, before = () => {}): Promise<boolean> {
  const late = performance.now() + ms;
  for (let waitMs = 5; ; waitMs = Math.min(waitMs * 2, 200)) {
    const isGone = unlessItFails(() => {
      before();
      return look().length === 0;
    });
    if (isGone === true) return true;
    const leftMs = late - performance.now();
    if (leftMs <= 0) return false;
    await pause(Math.min(waitMs, leftMs));
  }
}

function unlessItFails<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}

export function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone already, or somebody else's (sudo): the next look tells.
  }
}

function repeatLook(look: () => unknown): () => void {
  let timer: NodeJS.Timeout;
  const arm = (delayMs: number) => {
    timer = setTimeout(() => {
      const start = performance.now();
      unlessItFails(look);
      const leastMs = (performance.now() - start) / lookShare;
      arm(Math.max(Math.min(delayMs * 2, lastLookMs), leastMs));
    }, delayMs).unref();
  };
  arm(firstLookMs);
  return () => clearTimeout(timer);
}
