/** TERM, INT and HUP for commands that stay up. */
import type { Logger } from 'pino';
import { readEnvironment } from '../env.js';
import { bindSignals } from '../worker/shutdown.js';
import type { Worker } from '../worker/worker.js';

export type Stopping = {
  /** Aborted by the first TERM or INT. */
  signal: AbortSignal;
  /** From now on HUP also reloads this worker, and a second TERM or INT forces it. */
  attach(worker: Worker): void;
  dispose(): void;
};

/** Works from the first moment on, also while a worker still waits for its database. */
export function listenForStop(log: Logger): Stopping {
  const controller = new AbortController();
  let worker: Worker | undefined;
  const dispose = bindSignals(process, {
    stop: () => controller.abort(),
    force: (code) => {
      worker?.force();
      process.exit(code);
    },
    reload: () => {
      reload(log, worker).catch((err: unknown) => log.warn({ err }, 'reload failed; the old settings hold'));
    },
  });
  const attach = (started: Worker): void => {
    worker = started;
  };
  return { signal: controller.signal, attach, dispose };
}

/** Reads the log level and the policies again. Throws `OPS_016` for an environment that is not valid any more. */
async function reload(log: Logger, worker: Worker | undefined): Promise<void> {
  log.level = readEnvironment().OPS_LOG_LEVEL;
  await worker?.reload();
}

/** Resolves when `signal` is aborted; at once if it already is. */
export function whenAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
