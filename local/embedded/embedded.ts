/**
 * The embedded PostgreSQL: real server, from the npm registry, no Docker and no system package.
 *
 * The first start on a data directory owns the server; it stops when the owner stops or dies. A later start on
 * the same directory joins it: it shares the server, and loses it when the owner goes. Who wants a server that
 * outlives every process sets DATABASE_URL.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { OpsError } from '../../supabase/client/errors.js';
import { type Binaries, findBinaries } from './binaries.js';
import { prepareCluster, setPassword } from './cluster.js';
import { askServer, connectionUrl, ensureDatabase, host } from './database.js';
import { launchServer } from './launch.js';
import { takeStartLock } from './lock.js';
import { choosePlace, type Place } from './place.js';
import { directoryHeld, otherPort, passwordUnknown, portTaken, refusal } from './refusal.js';
import { dropForeignServerFile, isAlive, readServerFile, type ServerFile } from './server-file.js';
import { type ClusterState, freePort, isPortFree, newPassword, readState, writeState } from './state.js';
import type { Server } from './supervisor.js';

/** The part of a pino logger that is used here. */
export type EmbeddedLog = {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
};

export type EmbeddedOptions = {
  /** Beside it stand `.json` (port, password), `.log` and, while starting, `.lock`. */
  dataDir: string;
  /** A port to insist on. Default: the one of last time if it is free, else a random free one. */
  port?: number | undefined;
  log?: EmbeddedLog | undefined;
  /** Over the defaults of `settings.ts`, until the next start. A start that joins ignores them. */
  settings?: Record<string, string> | undefined;
};

export type EmbeddedDatabase = {
  /** `postgres://…`, with password and database, for `pg` and psql alike. */
  url: string;
  host: string;
  port: number;
  /** The real path, links resolved. */
  dataDir: string;
  /** Of the server, not of the supervisor. */
  pid: number;
  /** True when another process owns the server. */
  joined: boolean;
  /** The owner ends the server (fast: open transactions are rolled back); a joiner only forgets it. */
  stop(): Promise<void>;
};

/** How long a start waits for another start, or for a dying server to let go of the directory. */
const patienceMs = 60_000;
const retryMs = 100;

/** Starts the database, or joins the one that runs. Safe to call from many processes at once. Throws `OPS_001`. */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedDatabase> {
  try {
    const place = await choosePlace(options.dataDir);
    const release = await takeStartLock(place.lockFile, patienceMs);
    return await startOrJoin(place, options).finally(release);
  } catch (cause) {
    if (cause instanceof OpsError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw refusal(
      reason,
      'Mend what it names (space, permissions, read-only disk), or set DATABASE_URL.',
      cause,
    );
  }
}

async function startOrJoin(place: Place, options: EmbeddedOptions): Promise<EmbeddedDatabase> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const running = await readServerFile(place.dataDir);
    const database =
      running !== undefined && isAlive(running.pid)
        ? await joinServer(place, running, options)
        : await startServer(place, options);
    if (database !== undefined) return database;
    if (performance.now() > deadline) throw directoryHeld(place, running);
    await pause(retryMs);
  }
}

/** Undefined when the server does not answer yet or any more. */
async function joinServer(
  place: Place,
  running: ServerFile,
  { port, log }: EmbeddedOptions,
): Promise<EmbeddedDatabase | undefined> {
  const state = await readState(place.stateFile);
  if (state === undefined) throw passwordUnknown(place, running);
  if (port !== undefined && port !== running.port) throw otherPort(port, running);
  const reached = { ...state, port: running.port };
  const answer = await askServer(reached);
  if (answer.kind === 'away') await dropForeignServerFile(place.dataDir, running.pid);
  if (answer.kind === 'away') return undefined;
  if (answer.kind === 'refused')
    throw refusal(
      `process ${running.pid} serves ${place.dataDir} and refuses us`,
      `End process ${running.pid} and start again, or set DATABASE_URL.`,
      answer.cause,
    );
  log?.info({ port: running.port, pid: running.pid }, 'joined the embedded database of another process');
  return describe(place, reached, running.pid, undefined);
}

/** Undefined when the directory is still locked by a server that was just killed, or the port was just taken. */
async function startServer(place: Place, options: EmbeddedOptions): Promise<EmbeddedDatabase | undefined> {
  const binaries = await findBinaries(place.account);
  await prepareCluster(place, binaries, options.settings ?? {});
  const state = await settleState(place, binaries, options.port);
  const result = await launchServer({ ...place, binaries, port: state.port });
  if (result.kind === 'port-taken' && options.port !== undefined) throw portTaken(options.port);
  if (result.kind !== 'ready') return undefined;
  try {
    await ensureDatabase(state);
  } catch (cause) {
    await result.server.stop();
    throw refusal('it started, but cannot be set up', `Read ${place.logFile}, then start again.`, cause);
  }
  result.server.detach();
  options.log?.info(
    { port: state.port, pid: result.server.pid, data: place.dataDir },
    'embedded database started',
  );
  return describe(place, state, result.server.pid, watched(result.server, options.log));
}

/** Password and port of this start, written down: the old ones where they still serve. */
async function settleState(
  place: Place,
  binaries: Binaries,
  wantedPort: number | undefined,
): Promise<ClusterState> {
  const known = await readState(place.stateFile);
  const password = known?.password ?? newPassword();
  const state = { password, port: wantedPort ?? (await reusablePort(known)) };
  if (known === undefined) await setPassword(place, binaries, password);
  if (known?.port !== state.port) await writeState(place.stateFile, state);
  return state;
}

async function reusablePort(known: ClusterState | undefined): Promise<number> {
  return known !== undefined && (await isPortFree(known.port)) ? known.port : freePort();
}

function describe(
  place: Place,
  state: ClusterState,
  pid: number,
  server: Server | undefined,
): EmbeddedDatabase {
  return {
    url: connectionUrl(state),
    host,
    port: state.port,
    dataDir: place.dataDir,
    pid,
    joined: server === undefined,
    stop: async () => server?.stop(),
  };
}

/** The same server; an end that nobody asked for is logged. */
function watched(server: Server, log: EmbeddedLog | undefined): Server {
  let asked = false;
  server.exited.then(() => {
    if (!asked) log?.warn({ pid: server.pid }, 'the embedded database ended by itself');
  });
  return {
    ...server,
    stop: () => {
      asked = true;
      return server.stop();
    },
  };
}
