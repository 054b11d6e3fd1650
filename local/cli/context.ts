/** What every command gets: its output, the environment, and a connection that is closed when it ends. */
import { setTimeout as pause } from 'node:timers/promises';
import { OpsError } from '../../supabase/client/errors.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { type ChosenDatabase, chooseDatabase, type OpenDatabase, openChosen } from '../database.js';
import { type Environment, readEnvironment } from '../env.js';
import type { Output } from './output.js';

const goodbyeMs = 500;

export type Connected = { port: OpsPort; database: OpenDatabase; chosen: ChosenDatabase };

export type Context = {
  out: Output;
  /** The real variables of the call; `env` is what they and the `.env` files say. */
  variables: NodeJS.ProcessEnv;
  /** Read and checked at the first call. Throws `OPS_016`. */
  env(): Environment;
  /** Opens the chosen database, or starts the embedded one if asked to. Throws `OPS_001`, `OPS_016`. */
  connect(options?: { startEmbedded?: boolean; max?: number }): Promise<Connected>;
  /** Something to undo when the command ends, whichever way; last one first. */
  atEnd(undo: () => Promise<void>): void;
  /** Somebody to tell what the command throws. */
  atFailure(tell: (thrown: unknown) => Promise<void>): void;
};

export type OpenContext = Context & { close(): Promise<void>; failed(thrown: unknown): Promise<void> };

export function openContext(
  commandName: string,
  out: Output,
  variables: NodeJS.ProcessEnv = process.env,
): OpenContext {
  const undos: (() => Promise<void>)[] = [];
  const told: ((thrown: unknown) => Promise<void>)[] = [];
  let environment: Environment | undefined;
  const env = (): Environment => {
    environment ??= readEnvironment({ variables });
    return environment;
  };
  const connect: Context['connect'] = async ({ startEmbedded = false, max } = {}) => {
    const chosen = await chooseDatabase(env(), { startEmbedded, applicationName: `ops-loop ${commandName}` });
    undos.push(chosen.stop);
    const database = openChosen(chosen, max);
    // A server that is silent also says nothing to a goodbye.
    undos.push(() => Promise.race([database.close(), pause(goodbyeMs, undefined, { ref: false })]));
    return { port: database.port, database, chosen };
  };
  const close = async (): Promise<void> => {
    for (const undo of undos.splice(0).reverse()) await undo();
  };
  const failed = async (thrown: unknown): Promise<void> => {
    for (const tell of told) await tell(thrown);
  };
  const atFailure: Context['atFailure'] = (tell) => told.push(tell);
  return { out, variables, env, connect, atEnd: (undo) => undos.push(undo), atFailure, failed, close };
}

/** A call that cannot be carried out as written: exit code 2. */
export const usageError = (message: string, hint?: string): OpsError =>
  new OpsError('OPS_011', message, { hint });
