/** Takes the worker's name. Names are unique among the living; a name of the dead on this host is taken over. */
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { OpsError } from '../../supabase/client/errors.js';
import type { OpsPort } from '../../supabase/client/port.js';
import type { ExecutorRegistration } from '../../supabase/client/schemas/inputs.js';
import { schemaVersion } from '../../supabase/client/terms.js';
import { write } from './log.js';

export type Identity = { name: string; instance: string; host: string; pid: number };
export type Holder = { instance: string; host: string; pid: number };
export type RegistrationPort = Pick<OpsPort, 'registerWorker' | 'unregisterWorker'>;
type Answer = Awaited<ReturnType<RegistrationPort['registerWorker']>>;
/** Is a worker of ours alive under this process id on this host? */
export type IsWorkerAlive = (holder: Holder) => Promise<boolean>;

/** Workers of this very process, by instance: for them the process id proves nothing. */
export const instancesHere = new Set<string>();

/** Answers `accepted: false` when a living worker has the name. Throws what the port throws. */
export async function register(
  port: RegistrationPort,
  identity: Identity,
  executors: ExecutorRegistration[],
  { log, isAlive = isWorkerAlive }: { log: Logger; isAlive?: IsWorkerAlive | undefined },
): Promise<Answer> {
  const first = await port.registerWorker({ ...identity, executors });
  const { accepted, holder } = first;
  if (accepted) return first;
  if (holder === null || holder.host !== identity.host || (await isAlive(holder))) {
    write(log, 'info', { event: 'worker.refused', holder });
    return first;
  }
  const second = await port.registerWorker({ ...identity, executors, takeover: true });
  if (second.accepted) write(log, 'info', { event: 'worker.taken_over', holder });
  return second;
}

/** A process id may have been given to somebody else since; where it can be seen, its command must be Node's. */
export async function isWorkerAlive({ instance, pid }: Holder): Promise<boolean> {
  if (pid === process.pid) return instancesHere.has(instance);
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: somebody else's process, so not one of ours.
    if ((error as NodeJS.ErrnoException).code !== undefined) return false;
  }
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined);
  return command === undefined || /node|ops-loop|tsx/.test(command);
}

/**
 * Throws `OPS_013` when the schema is older than this code. A newer one is accepted: migrations come first, and a
 * worker that is restarted in between has to go on.
 */
export function checkSchema(found: string): void {
  if (Number(found) >= Number(schemaVersion)) return;
  throw new OpsError('OPS_013', `the schema is version ${found}, this worker needs ${schemaVersion}`, {
    hint: 'Run `ops-loop migrate`, then start the worker again.',
  });
}
