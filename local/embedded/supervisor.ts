/**
 * Runs the server so that it can never outlive us. A small shell stands between: it holds the read end of a pipe
 * whose write end only this process has. However we end, SIGKILL included, the system closes the pipe, the shell
 * reads end of file and sends the server SIGINT, which is PostgreSQL's fast shutdown. `stop` closes the same
 * pipe: one way out, used every day. The server is in a session of its own, so that Ctrl-C in a terminal reaches
 * us alone and a draining worker keeps its database.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, open, stat, truncate } from 'node:fs/promises';
import { Socket } from 'node:net';
import type { Account } from './account.js';
import type { Binaries } from './binaries.js';
import { runCommand, serverEnvironment } from './command.js';
import { refusal } from './refusal.js';

/** A spawned server. `exited` resolves when it is gone; `stop` resolves then too, and may be called twice. */
export type Server = { pid: number; exited: Promise<void>; stop(): Promise<void>; detach(): void };

export type ServerCommand = {
  binaries: Binaries;
  account: Account | undefined;
  dataDir: string;
  logFile: string;
  port: number;
};

/** A fast shutdown ends with a checkpoint; past this it is made an immediate one, which recovery follows. */
const fastShutdownMs = 30_000;

/** The server's log holds warnings and errors only; past this it moves to `.1` at the next start. */
const logLimitBytes = 10_000_000;

// The pid comes first on stdout, then stdout is closed. `wait` also returns for a trapped signal, hence the loop.
// The watcher ignores signals so that only end of file moves it, and dies with the server.
const shell = `
exec 3<&0
"$@" </dev/null 3<&- >&2 &
server=$!
echo $server
exec >&2
trap 'kill -INT $server' TERM INT HUP
( trap '' TERM INT HUP; read -r _ <&3; kill -INT $server 2>/dev/null ) &
watcher=$!
exec 3<&-
wait $server
while kill -0 $server 2>/dev/null; do wait $server; done
kill -KILL $watcher 2>/dev/null
`;

/** Spawns the server and returns as soon as its pid is known; it is not ready then. */
export async function superviseServer(command: ServerCommand): Promise<Server> {
  const size = await stat(command.logFile).then(
    (found) => found.size,
    () => 0,
  );
  if (size > logLimitBytes) await moveAside(command.logFile);
  const log = await open(command.logFile, 'a', 0o600);
  try {
    return process.platform === 'win32'
      ? await spawnPlain(command, log.fd)
      : await spawnUnderShell(command, log.fd);
  } finally {
    await log.close();
  }
}

/** Copied and emptied rather than renamed: the file keeps its owner when root starts another user's database. */
async function moveAside(file: string): Promise<void> {
  await copyFile(file, `${file}.1`);
  await truncate(file);
}

function serverArguments({ dataDir, port }: ServerCommand): string[] {
  return ['-D', dataDir, '-p', String(port)];
}

async function spawnUnderShell(command: ServerCommand, log: number): Promise<Server> {
  const words = ['-c', shell, 'ops-loop-postgres', command.binaries.postgres, ...serverArguments(command)];
  const child = spawn('/bin/sh', words, {
    ...command.account,
    cwd: '/',
    env: serverEnvironment(),
    detached: true,
    stdio: ['pipe', 'pipe', log],
  });
  // Closing a pipe whose other end is already gone is no news.
  child.stdin?.on('error', () => {});
  const exited = exitOf(child);
  const pid = Number(await firstLine(child));
  child.stdout?.destroy();
  return serverOf(child, pid, exited, () => void child.stdin?.end());
}

/** Windows has no SIGINT for children: `pg_ctl` stops the server, and after a kill of ours it runs on, to be joined. */
async function spawnPlain(command: ServerCommand, log: number): Promise<Server> {
  const child = spawn(command.binaries.postgres, serverArguments(command), {
    env: serverEnvironment(),
    stdio: ['ignore', log, log],
    windowsHide: true,
  });
  const exited = exitOf(child);
  await once(child, 'spawn');
  const stop = () => void runCommand(command.binaries.pgCtl, ['stop', '-m', 'fast', '-D', command.dataDir]);
  return serverOf(child, child.pid ?? 0, exited, stop);
}

function exitOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

/** The first line on stdout; rejects when the shell cannot be spawned or ends without one. */
async function firstLine(child: ChildProcess): Promise<string> {
  const ended = once(child, 'close').then(() => {
    throw refusal('its supervisor /bin/sh ended at once', 'Check that /bin/sh works, or set DATABASE_URL.');
  });
  const line = once(child.stdout ?? child, 'data').then(([chunk]) => String(chunk).trim());
  ended.catch(() => {});
  return Promise.race([line, ended]);
}

function serverOf(child: ChildProcess, pid: number, exited: Promise<void>, requestStop: () => void): Server {
  let stopped: Promise<void> | undefined;
  const stop = async () => {
    child.ref();
    requestStop();
    const force = setTimeout(() => signal(pid, 'SIGQUIT'), fastShutdownMs);
    await exited;
    clearTimeout(force);
  };
  return {
    pid,
    exited,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
    detach: () => {
      child.unref();
      if (child.stdin instanceof Socket) child.stdin.unref();
    },
  };
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended at this very moment.
  }
}
