/**
 * A worker, or one beat, in a process of its own. It stops at the gate that its argument names and says so; the
 * parent then kills it, freezes it, or sends `open`.
 */
import { pino } from 'pino';
import { listenForStop } from '../../local/cli/signals.js';
import { createRegistry } from '../../local/executors/registry.js';
import { type GateName, gates } from '../../local/worker/gates.js';
import { listenOver } from '../../local/worker/listener.js';
import type { LogLine } from '../../local/worker/log.js';
import { startWorker } from '../../local/worker/worker.js';
import { type Beat, runBeat } from '../../supabase/client/beat.js';
import { openDatabase } from '../../supabase/client/pg.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { type Place, places, post, wire } from './executors.js';

export type Gate = GateName | Place | 'next round';
export type ChildConfig = {
  url: string;
  name: string;
  gate?: Gate;
  leaseSeconds?: number;
  graceSeconds?: number;
  /** Goes on claiming while it stands at its gate. Otherwise a claim under way at the end might take its own step again. */
  claimsOn?: boolean;
  /** Beats once with batches of this size instead of working. */
  beatBatch?: number;
};
export type Message = { at: Gate } | { log: LogLine } | { beat: Beat };

const config = JSON.parse(process.argv[2] ?? '') as ChildConfig;
const waiting: (() => void)[] = [];
let isOpen = false;

const tell = (message: Message): void => void process.send?.(message);

function arrive(gate: Gate): Promise<void> | undefined {
  if (gate !== config.gate || isOpen) return undefined;
  tell({ at: gate });
  return new Promise((resolve) => waiting.push(resolve));
}

process.on('message', () => {
  isOpen = true;
  for (const goOn of waiting.splice(0)) goOn();
});
process.on('disconnect', () => process.exit(1));
gates.hold = arrive;
places.hold = arrive;

function claimingOnce(port: OpsPort): OpsPort {
  let hasClaimed = false;
  const claimSteps: OpsPort['claimSteps'] = async (args) => {
    if (hasClaimed && !isOpen) await new Promise<void>((resolve) => waiting.push(resolve));
    const steps = await port.claimSteps(args);
    hasClaimed ||= steps.length > 0;
    return steps;
  };
  return { ...port, claimSteps };
}

async function work(port: OpsPort): Promise<void> {
  const log = pino(
    { level: 'debug', base: null },
    { write: (line: string) => tell({ log: JSON.parse(line) }) },
  );
  const stopping = listenForStop(log);
  const worker = await startWorker({
    ...{ port, log, name: config.name, signal: stopping.signal },
    registry: createRegistry([post, wire]),
    listen: listenOver({ connectionString: config.url }),
    leaseMinutes: (config.leaseSeconds ?? 60) / 60,
    shutdownGraceSeconds: config.graceSeconds,
    print: () => {},
  });
  stopping.attach(worker);
  await worker.done;
  stopping.dispose();
}

/** The second round is the first call that names a beat. */
async function beat(port: OpsPort, batch: number): Promise<void> {
  const heartbeat: OpsPort['heartbeat'] = async (args) => {
    if (args?.beatId !== undefined) await arrive('next round');
    return port.heartbeat(args);
  };
  const sizes = { eventBatch: batch, reactionBatch: batch };
  tell({ beat: await runBeat({ ...port, heartbeat }, { source: 'cron', ...sizes }) });
}

const database = openDatabase({ connectionString: config.url, application_name: config.name });
const { port } = database;
if (config.beatBatch !== undefined) await beat(port, config.beatBatch);
else await work(config.gate === undefined || config.claimsOn ? port : claimingOnce(port));
await database.close();
process.removeAllListeners('disconnect');
process.disconnect();
