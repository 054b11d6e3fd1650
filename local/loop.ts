/** The whole loop in one process: HTTP server, worker with reactive beats and, with a schedule, the heartbeat. */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { OpsPort } from '../supabase/client/port.js';
import { maxRows } from '../supabase/client/supabase.js';
import { type LocalBeat, startLocalBeat } from './beat.js';
import { type ChosenDatabase, dataRoot } from './database.js';
import { type Environment, variableOf, variablesNamed } from './env.js';
import { loadRegistry } from './executors/registry.js';
import type { Secrets } from './secrets.js';
import type { RunningServer } from './server.js';
import { tracedPort } from './tracing/traced-port.js';
import { listenOver } from './worker/listener.js';
import { startWorker, type Worker } from './worker/worker.js';

/** A request or a beat that is under way at the end gets this long. */
const lastAnswerMs = 3_000;

export type LoopOptions = {
  env: Environment;
  secrets: Secrets;
  chosen: ChosenDatabase;
  port: OpsPort;
  log: Logger;
  /** Where the server listens; 0 takes any free port. */
  httpPort: number;
  /** When to beat, as a cron line; without one only reactive beats take place. */
  cron?: string;
  print: (line: string) => void;
  /** Reports an error that nobody expected. */
  reportError?: (thrown: unknown, where: string) => Promise<void>;
  /** Aborting it stops the worker, also while it still waits for its database. */
  signal?: AbortSignal;
};

export type RunningLoop = {
  server: RunningServer;
  worker: Worker;
  /** Takes nothing new in, lets what runs finish, then ends all parts. A second call waits for the first. */
  stop(): Promise<void>;
};

/** Throws what its parts throw, with those that had started ended again. */
export async function startLoop(options: LoopOptions): Promise<RunningLoop> {
  const server = await startControlPlane(options);
  try {
    const { env } = options;
    // Links for people begin with our own address unless another is set.
    const reachable = { ...env, OPS_PUBLIC_URL: env.OPS_PUBLIC_URL ?? server.url };
    const worker = await startWorker(await workerOptions({ ...options, env: reachable }));
    const beat = startBeat(options);
    // What came in while nothing ran is not left to the next minute.
    void beat?.beat();
    let stopping: Promise<void> | undefined;
    const stop = (): Promise<void> => {
      stopping ??= stopAll(server, beat, worker);
      return stopping;
    };
    return { server, worker, stop };
  } catch (error) {
    await server.close();
    throw error;
  }
}

async function startControlPlane({
  env,
  secrets,
  port,
  log,
  httpPort,
  reportError,
}: LoopOptions): Promise<RunningServer> {
  // A worker alone does not load the control plane.
  const { createApp, parseWebhooks, socketAddress, startServer } = await import('./server.js');
  const now = () => new Date();
  const webhooks = parseWebhooks(variablesNamed('OPS_WEBHOOK_'));
  const control = { ...env, ...secrets, webhooks };
  const app = createApp({ port, env: control, log, now, clientAddress: socketAddress, reportError });
  return startServer({ app, host: env.OPS_HOST, port: httpPort });
}

/** What the worker of `start`, of `demo` and of `worker` have in common. */
export async function workerOptions({
  env,
  chosen,
  port,
  log,
  print,
  signal,
}: Omit<LoopOptions, 'secrets' | 'httpPort'>) {
  return {
    // With traces on, every step has a context to hand on.
    port: env.OTEL_EXPORTER_OTLP_ENDPOINT === undefined ? port : tracedPort(port),
    log,
    print,
    signal,
    database: { host: chosen.host, name: chosen.database },
    name: env.OPS_WORKER_NAME,
    registry: await loadRegistry(env.OPS_EXECUTORS),
    listen: chosen.kind !== 'supabase' && chosen.direct ? listenOver(chosen.config) : undefined,
    // An answer of the API ends after so many rows: claims and renewals are of one row per step.
    concurrency: Math.min(
      env.OPS_WORKER_CONCURRENCY,
      chosen.kind === 'supabase' ? maxRows : Number.MAX_SAFE_INTEGER,
    ),
    leaseMinutes: env.OPS_STEP_LEASE_MINUTES,
    shutdownGraceSeconds: env.OPS_SHUTDOWN_GRACE_SECONDS,
    workspace: join(dataRoot(env), 'workspace'),
    secrets: variableOf(env),
    reactive: env.OPS_REACTIVE === false ? undefined : beatSizes(env),
  };
}

export const beatSizes = (env: Environment) => ({
  eventBatch: env.OPS_EVENT_BATCH_SIZE,
  reactionBatch: env.OPS_REACTION_BATCH_SIZE,
  staleMinutes: env.OPS_STALE_STEP_MINUTES,
});

function startBeat({ env, port, log, cron }: LoopOptions): LocalBeat | undefined {
  return cron === undefined ? undefined : startLocalBeat({ port, log, cron, ...beatSizes(env) });
}

/** All at once, so that the worker's grace is not spent on waiting for a request or a beat. */
async function stopAll(server: RunningServer, beat: LocalBeat | undefined, worker: Worker): Promise<void> {
  const intake = Promise.all([server.close(), beat?.stop()]);
  const late = pause(lastAnswerMs, undefined, { ref: false });
  await Promise.all([worker.stop(), Promise.race([intake, late])]);
}
