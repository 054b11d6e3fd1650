import type { Logger } from 'pino';
import { isDatabaseAway } from '../../supabase/client/errors.js';
import type { Bell } from './bell.js';
import type { Resolved } from './options.js';
import type { FailureCounter } from './outage.js';
import { checkSchema, type Identity, register } from './registration.js';

export type StartupDeps = {
  options: Resolved;
  identity: Identity;
  log: Logger;
  outage: FailureCounter;
  /** Rung when the worker is told to stop. */
  bell: Bell;
  isStopping: () => boolean;
  /** What else has to be read from the database before the first claim. */
  prepare: () => Promise<void>;
};

export type Startup = 'registered' | 'already_running' | 'stopped';

/**
 * Registers the worker, waiting for a database that is away. Throws `OPS_013` for a schema that is too old, and
 * what the database says when it refuses the login: waiting would not change that.
 */
export async function startUp({
  options,
  identity,
  log,
  outage,
  bell,
  isStopping,
  prepare,
}: StartupDeps): Promise<Startup> {
  const { port, registry, isWorkerAlive: isAlive } = options;
  while (!isStopping()) {
    try {
      const answer = await register(port, identity, registry.registrations(), { log, isAlive });
      if (!answer.accepted) return 'already_running';
      checkSchema(answer.schema_version);
      await prepare();
      return 'registered';
    } catch (error) {
      if (!isDatabaseAway(error) || isRefused(error)) throw error;
      await bell.wait(options.clock, outage.failed(error));
    }
  }
  return 'stopped';
}

/** Wrong password, missing grant, no such role or database (SQLSTATE class 28, 42501, 3D000). */
function isRefused(error: unknown): boolean {
  const { cause } = error as { cause?: { code?: unknown } };
  return /^(28|42501|3D000)/.test(String(cause?.code ?? ''));
}
