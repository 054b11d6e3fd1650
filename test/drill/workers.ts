/** The worker processes of a drill: started as an operator starts them, watched, and started again when they die. */
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { cleanEnvironment } from '../support/cli.js';
import { until } from '../support/until.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const setupFile = fileURLToPath(new URL('./child-setup.ts', import.meta.url));
const executorsFile = fileURLToPath(new URL('./executors.ts', import.meta.url));

/** Short, so that recovery can be watched; production has a minute. */
export const defaultLeaseMs = 5_000;
const graceMs = 5_000;
/** As a service manager does: not at once, so that a worker that cannot start does not spin. */
const restartAfterMs = 300;

export type Member = {
  name: string;
  /** The process of now; undefined while it is being started again. */
  child: ChildProcess | undefined;
  /** Ended by the drill on purpose. */
  frozen: boolean;
};

export type Crew = {
  members: Member[];
  /** SIGKILL; the watcher starts the next one. */
  kill(member: Member): void;
  freeze(member: Member): void;
  thaw(member: Member): void;
  /** Sets a worker's wall clock off by so many milliseconds. */
  shiftClock(member: Member, shiftMs: number): void;
  /** Ways in which workers ended that nobody asked for. */
  strange: string[];
  /** What workers logged, as `event code` with a count and one example. */
  logged: Map<string, { count: number; example: string }>;
  /** TERM to all; complains of each that does not leave in time and in order. */
  stop(): Promise<void>;
};

/** How a worker gets at the database, and what its command line begins with, if anything. */
export type Route = { url: string; command?: string[] };
export type CrewOptions = {
  home: string;
  routes: Record<string, Route>;
  concurrency: number;
  leaseMs: number;
};

export function startCrew(options: CrewOptions): Crew {
  const strange: string[] = [];
  const logged: Crew['logged'] = new Map();
  let stopping = false;
  const members: Member[] = Object.keys(options.routes).map((name) => ({
    ...{ name, child: undefined, frozen: false },
  }));

  const start = (member: Member): void => {
    const child = spawnWorker(member.name, options);
    member.child = child;
    takeLines(child.stderr, (line) => note(line, member, logged, strange));
    child.once('exit', (code, signal) => {
      member.child = undefined;
      if (signal !== 'SIGKILL' && !(stopping && code === 0))
        strange.push(`worker ${member.name} ended by itself with ${signal ?? `code ${code}`}`);
      if (!stopping) void pause(restartAfterMs).then(() => stopping || start(member));
    });
  };
  for (const member of members) start(member);

  return {
    members,
    strange,
    logged,
    kill: ({ child }) => void child?.kill('SIGKILL'),
    freeze: (member) => {
      member.frozen = member.child?.kill('SIGSTOP') ?? false;
    },
    thaw: (member) => {
      member.frozen = false;
      member.child?.kill('SIGCONT');
    },
    shiftClock: ({ name }, shiftMs) => {
      const file = join(options.home, `clock-${name}`);
      if (shiftMs === 0) rmSync(file, { force: true });
      else writeFileSync(file, String(shiftMs));
    },
    stop: async () => {
      stopping = true;
      for (const { child } of members) child?.kill('SIGCONT');
      for (const { child } of members) child?.kill('SIGTERM');
      const gone = () => members.every(({ child }) => child === undefined);
      await until(gone, { what: 'all workers leave after TERM', deadlineMs: graceMs + 5_000 }).catch(
        (error) => {
          strange.push(String(error));
          for (const { child } of members) child?.kill('SIGKILL');
        },
      );
    },
  };
}

function spawnWorker(name: string, { home, routes, concurrency, leaseMs }: CrewOptions): ChildProcess {
  const { url = '', command = [] } = routes[name] ?? {};
  const code = ['--import', 'tsx', '--import', setupFile, join(root, 'local/cli/main.ts')];
  const words = [
    'worker',
    '--name',
    name,
    '--concurrency',
    String(concurrency),
    '--executors',
    executorsFile,
  ];
  const [program = '', ...rest] = [...command, process.execPath, ...code, ...words, '--reactive'];
  return spawn(program, rest, {
    cwd: root,
    env: cleanEnvironment({
      DATABASE_URL: url,
      OPS_DATA_DIR: home,
      OPS_STEP_LEASE_MINUTES: String(leaseMs / 60_000),
      OPS_SHUTDOWN_GRACE_SECONDS: String(graceMs / 1_000),
      OPS_LOG_LEVEL: 'info',
      DRILL_EFFECTS: join(home, 'effects'),
      DRILL_CLOCK: join(home, `clock-${name}`),
    }),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

function takeLines(stream: ChildProcess['stderr'], take: (line: string) => void): void {
  let rest = '';
  stream?.on('data', (chunk) => {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    lines.forEach(take);
  });
}

/** Log lines are counted by event and code; anything else on stderr is a crash report, and worth reading. */
function note(line: string, member: Member, logged: Crew['logged'], strange: string[]): void {
  if (line.trim() === '') return;
  const entry = parseLog(line);
  if (entry === undefined) return void strange.push(`worker ${member.name} said: ${line.slice(0, 300)}`);
  const key = [entry.event, entry.code].filter(Boolean).join(' ');
  const known = logged.get(key);
  logged.set(key, { count: (known?.count ?? 0) + 1, example: known?.example ?? line.slice(0, 400) });
}

function parseLog(line: string): { event?: string; code?: string } | undefined {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
