/** TERM, INT and HUP for commands that stay up. */
import type { Logger } from 'pino';
import { bindSignals } from '../worker/shutdown.js';
import type { Worker } from '../worker/worker.js';

export type Stopping = {
  /** Aborted by the first TERM or INT. */
  signal: AbortSignal;
  /** From now on HUP reloads this worker, and a second TERM or INT forces it. */
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
      worker?.reload().catch((err: unknown) => log.warn({ err }, 'reload failed; the old policies hold'));
    },
  });
  const attach = (started: Worker): void => {
    worker = started;
  };
  return { signal: controller.signal, attach, dispose };
}

/** Resolves when `signal` is aborted; at once if it already is. */
export function whenAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
