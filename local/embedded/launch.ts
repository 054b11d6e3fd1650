import { open, stat } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { lastLines } from './cluster.js';
import { refusal } from './refusal.js';
import { readServerFile } from './server-file.js';
import { type Server, type ServerCommand, superviseServer } from './supervisor.js';

/** `locked`: another server has the directory, or a killed one is not reaped yet. `port-taken`: choose another. */
export type LaunchResult = { kind: 'ready'; server: Server } | { kind: 'locked' } | { kind: 'port-taken' };

const pollMs = 10;
/** Crash recovery may replay up to `max_wal_size` (2 GB). */
const readyMs = 120_000;

/** Starts the server and waits until it takes connections. Throws `OPS_001` with the end of its log. */
export async function launchServer(command: ServerCommand): Promise<LaunchResult> {
  const logStart = await stat(command.logFile).then(
    ({ size }) => size,
    () => 0,
  );
  const server = await superviseServer(command);
  let ended = false;
  server.exited.then(() => {
    ended = true;
  });
  const deadline = performance.now() + readyMs;
  while (!(await isReady(command.dataDir, server.pid))) {
    if (ended) return classify(await readFrom(command.logFile, logStart));
    if (performance.now() > deadline) {
      await server.stop();
      throw refusal(
        `it was not ready after ${readyMs / 1000} s`,
        `Read ${command.logFile}, then start again.`,
      );
    }
    await pause(pollMs);
  }
  return { kind: 'ready', server };
}

async function isReady(dataDir: string, pid: number): Promise<boolean> {
  const file = await readServerFile(dataDir);
  return file?.pid === pid && file.ready;
}

function classify(log: string): LaunchResult {
  // A crashed server's backends hold its shared memory for a moment longer.
  if (/lock file .* already exists|shared memory block .* still in use/.test(log)) return { kind: 'locked' };
  if (/could not bind|could not create any TCP\/IP sockets/.test(log)) return { kind: 'port-taken' };
  throw refusal(
    `the server ended at once: ${lastLines(log)}`,
    'Mend what it names (settings given with ALTER SYSTEM are in postgresql.auto.conf), or set DATABASE_URL.',
  );
}

async function readFrom(file: string, start: number): Promise<string> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    const from = start > size ? 0 : start;
    return (await handle.read(Buffer.alloc(size - from), 0, size - from, from)).buffer.toString();
  } finally {
    await handle.close();
  }
}
