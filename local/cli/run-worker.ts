import { createLogger } from '../logger.js';
import { beatSizes, workerOptions } from '../loop.js';
import { startTracing } from '../tracing/tracing.js';
import { startWorker } from '../worker/worker.js';
import { type Context, usageError } from './context.js';
import { watchErrors } from './error-watch.js';
import { listenForStop } from './signals.js';

export type WorkerFlags = {
  once?: boolean;
  name?: string;
  concurrency?: number;
  executors?: string;
  reactive?: boolean;
};

export async function runWorker(context: Context, flags: WorkerFlags): Promise<undefined> {
  const { out, connect } = context;
  if (flags.concurrency === 0) throw usageError('--concurrency must be at least 1');
  const env = { ...context.env(), ...settingsOf(flags) };
  const { port, chosen } = await connect();
  const print = (line: string): void => out.show({ message: line }, () => line);
  const watch = watchErrors(context, env, 'worker');
  const log = createLogger(env.OPS_LOG_LEVEL, undefined, watch?.onErrorLine);
  const stopping = listenForStop(log);
  const tracing = await startTracing(env, { port, log });
  if (tracing !== undefined) context.atEnd(tracing.stop);
  const worker = await startWorker({
    ...(await workerOptions({ env, chosen, port, log, print, signal: stopping.signal })),
    once: flags.once ?? false,
    reactive: env.OPS_REACTIVE === true ? beatSizes(env) : undefined,
  });
  stopping.attach(worker);
  await worker.done;
  stopping.dispose();
  if (worker.replacedBy !== undefined) throw worker.replacedBy;
}

/** Options go before variables. */
const settingsOf = ({ name, concurrency, executors, reactive }: WorkerFlags) => ({
  ...(name === undefined ? {} : { OPS_WORKER_NAME: name }),
  ...(concurrency === undefined ? {} : { OPS_WORKER_CONCURRENCY: concurrency }),
  ...(executors === undefined ? {} : { OPS_EXECUTORS: executors }),
  ...(reactive === undefined ? {} : { OPS_REACTIVE: reactive }),
});
