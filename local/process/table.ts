/** The processes of this machine, as /proc tells them, or `ps` where there is no /proc. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

export type Entry = {
  pid: number;
  parent: number;
  group: number;
  /** 0 where it cannot be seen. */
  session: number;
  /** When it started: clock ticks since boot (proc(5), field 22), seconds since 1970 from `ps`. Only to compare. */
  start: number;
  /** A zombie: nothing of it runs any more, its parent has not asked yet. */
  ended: boolean;
};
/** A process id is given again to others; together with its start it is one process only. */
export type Identity = Pick<Entry, 'pid' | 'start'>;

/** Without it there are no markers to read either: then only descent and process group tell who belongs to a run. */
export const hasProc = existsSync('/proc/self/stat');

/** Throws when it cannot be read, as when this process has no file descriptor left: nobody seen is not nobody there. */
export function readTable(): Entry[] {
  return hasProc ? tableFromProc() : tableFromPs();
}

/** One process, if it is there. */
export function readEntry(pid: number): Entry | undefined {
  return hasProc ? entryFromProc(pid) : tableFromPs().find((entry) => entry.pid === pid);
}

function tableFromProc(): Entry[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map((pid) => entryFromProc(Number(pid))).filter((entry) => entry !== undefined);
}

function entryFromProc(pid: number): Entry | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch (error) {
    if (goneCodes.has((error as NodeJS.ErrnoException).code)) return undefined;
    throw error;
  }
}

/** It ended before, or while, it was read. */
const goneCodes = new Set<string | undefined>(['ENOENT', 'ESRCH']);

/** `4711 (a (name)) S 1 4711 …`: the name may hold anything, so the fields count from its last bracket. */
export function parseStat(stat: string): Entry {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3]);
  return {
    pid: Number.parseInt(stat, 10),
    parent: field(4),
    group: field(5),
    session: field(6),
    start: field(22),
    ended: /^[ZX]/.test(fields[0] ?? ''),
  };
}

/** POSIX has no start time; `lstart` is known to procps, the BSDs and macOS. */
export function tableFromPs(): Entry[] {
  const { stdout, error } = spawnSync('ps', ['-A', '-o', 'pid=,ppid=,pgid=,stat=,lstart='], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C' },
  });
  if (error !== undefined) throw error;
  return stdout.split('\n').filter(Boolean).map(parsePsLine);
}

/** `4711 1 4711 Ss Fri Nov 20 13:19:03 2026`. */
export function parsePsLine(line: string): Entry {
  const [pid, parent, group, state = '', ...start] = line.trim().split(/\s+/);
  return {
    pid: Number(pid),
    parent: Number(parent),
    group: Number(group),
    session: 0,
    start: Date.parse(start.join(' ')) / 1_000,
    ended: state.startsWith('Z'),
  };
}
