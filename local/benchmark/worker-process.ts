/**
 * A worker in a process of its own, driven over IPC by `worker.ts`: says `{ready}` when its code is loaded and its
 * database answers, starts at the order, says `{began}` with the time of every no-op it is asked to report, and `{ended}`
 * with what it used; then it may be started again. Times are of the monotonic clock that all processes of one machine share.
 */
import pino from 'pino';
import { z } from 'zod';
import { parseConnection } from '../../supabase/client/connection.js';
import { openDatabase } from '../../supabase/client/pg.js';
import { builtins } from '../executors/builtin.js';
import { defineExecutor } from '../executors/contract.js';
import { noop } from '../executors/noop.js';
import { createRegistry } from '../executors/registry.js';
import { listenOver } from '../worker/listener.js';
import { startWorker, type Worker } from '../worker/worker.js';
import { type Message, now, type Order } from './protocol.js';

const say = (message: Message): void => void process.send?.(message);
const Numbered = z.object({ echo: z.number() });
let worker: Worker | undefined;

process.on('message', (order: Order) => void obey(order));
process.on('disconnect', () => process.exit(0));

async function obey(order: Order): Promise<void> {
  if (order.do === 'start') await run(order);
  else if (order.do === 'stop') await worker?.stop();
  else process.disconnect();
}

async function run({
  url,
  concurrency,
  once,
  listen,
  reactive,
  report,
  name,
}: Extract<Order, { do: 'start' }>) {
  const { config } = parseConnection(url);
  const database = openDatabase({ ...config, max: 8 });
  await database.port.schemaVersion();
  const before = process.cpuUsage();
  const started = now();
  worker = await startWorker({
    port: database.port,
    log: pino({ level: 'silent' }),
    registry: report ? reporting() : undefined,
    listen: listen ? listenOver(config) : undefined,
    reactive: reactive ? {} : undefined,
    print: () => say({ say: 'idle' }),
    once,
    concurrency,
    name,
  });
  await worker.done;
  const ended = now();
  const { user, system } = process.cpuUsage(before);
  const rssMb = process.resourceUsage().maxRSS / 1024;
  await database.close();
  say({ say: 'ended', started, ended, cpuMs: (user + system) / 1_000, rssMb, ...worker.stats() });
}

/** The built-ins, with a no-op that says when it began. */
function reporting() {
  const timed = defineExecutor({
    ...noop,
    run(ctx) {
      const at = now();
      const numbered = Numbered.safeParse(ctx.params);
      if (numbered.success) say({ say: 'began', seq: numbered.data.echo, at });
      return noop.run(ctx);
    },
  });
  return createRegistry(builtins.map((executor) => (executor.name === 'noop' ? timed : executor)));
}

say({ say: 'ready' });
