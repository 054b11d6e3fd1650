/** A durable PostgreSQL on a fixed port and data directory, which may be killed and started again at any time. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type EmbeddedDatabase, startEmbedded } from '../../local/embedded/embedded.js';
import { isAlive } from '../../local/embedded/server-file.js';
import { until } from '../support/until.js';

/** Longer than a disk is full. */
const startPatienceMs = 20_000;

/** Small, and with frequent checkpoints, so that crash recovery starts from many places. */
const settings = {
  shared_buffers: '64MB',
  max_connections: '60',
  checkpoint_timeout: '30s',
  max_wal_size: '256MB',
  min_wal_size: '80MB',
  log_min_messages: 'error',
};

export type DrillServer = {
  /** Connection string past the proxy. */
  url: string;
  port: number;
  /** `SIGQUIT` is an immediate stop, `SIGKILL` what an out-of-memory killer does. Resolves when it is gone. */
  kill(signal: 'SIGQUIT' | 'SIGKILL'): Promise<void>;
  /** Starts it again if it is down; a second call waits for the first. */
  start(): Promise<void>;
  stop(): Promise<void>;
};

/** A server that gave up by itself leaves a process id that may be another program's by now. Only Linux tells. */
function isServer(pid: number): boolean {
  if (!isAlive(pid)) return false;
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'postgres';
  } catch {
    return process.platform !== 'linux';
  }
}

export async function startServer(directory: string): Promise<DrillServer> {
  const dataDir = join(directory, 'postgres');
  let running: EmbeddedDatabase = await startEmbedded({ dataDir, settings });
  const { url, port } = running;
  let starting: Promise<void> | undefined;
  /** As a service manager does: again and again. On a full disk it cannot start before there is room. */
  const start = async () => {
    const deadline = performance.now() + startPatienceMs;
    for (;;) {
      try {
        running = await startEmbedded({ dataDir, settings, port });
        return;
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await pause(200);
      }
    }
  };
  return {
    url,
    port,
    kill: async (signal) => {
      const { pid } = running;
      if (isServer(pid)) process.kill(pid, signal);
      // A starved machine takes its time to end a process: that is no fault of what is drilled.
      await until(() => !isServer(pid), { what: `the server ends after ${signal}`, deadlineMs: 60_000 });
    },
    start: () => {
      if (isServer(running.pid)) return Promise.resolve();
      starting ??= start().finally(() => {
        starting = undefined;
      });
      return starting;
    },
    stop: () => running.stop(),
  };
}
