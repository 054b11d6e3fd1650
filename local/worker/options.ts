import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { BeatOptions } from '../../supabase/client/beat.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { type Health, processHealth } from '../executors/agent/health.js';
import { createRegistry, type Registry } from '../executors/registry.js';
import { type Clock, type Random, systemClock } from './clock.js';
import type { Listen } from './listener.js';
import type { IsWorkerAlive } from './registration.js';
import { defaults } from './settings.js';

export type WorkerOptions = {
  port: OpsPort;
  log: Logger;
  /** Unique among the living. Default: host and directory. */
  name?: string | undefined;
  /** What it can run. Default: the built-ins. */
  registry?: Registry | undefined;
  /** Opens a connection for LISTEN; leave it out behind a transaction-mode pooler. */
  listen?: Listen | undefined;
  /** Drains and ends. */
  once?: boolean | undefined;
  /** Steps that run at once. Default 100. */
  concurrency?: number | undefined;
  /** Default 1; `worker_policy.lease_minutes` goes before it. */
  leaseMinutes?: number | undefined;
  /** How long running steps may go on after `stop`. Default 20. */
  shutdownGraceSeconds?: number | undefined;
  /** Directory for work with files. Default `.ops-loop/workspace`; `worker_policy.workspace_root` goes before it. */
  workspace?: string | undefined;
  /** Beats as soon as events come in. */
  reactive?: Omit<BeatOptions, 'source'> | undefined;
  /** Answers secrets by the name of their variable. Default: the environment. */
  secrets?: ((name: string) => string | undefined) | undefined;
  /** How this process finds the model providers. Default: what its own steps have found. */
  modelHealth?: Health | undefined;
  /** For the first line. Never with a password. */
  database?: { host: string; name: string } | undefined;
  /** Takes lines for people. Default: stdout. */
  print?: ((line: string) => void) | undefined;
  /** Aborting it is a call of `stop`. */
  signal?: AbortSignal | undefined;
  clock?: Clock | undefined;
  random?: Random | undefined;
  host?: string | undefined;
  pid?: number | undefined;
  isWorkerAlive?: IsWorkerAlive | undefined;
};

type Optional = 'listen' | 'reactive' | 'database' | 'signal' | 'isWorkerAlive';
type Filled = Required<Omit<WorkerOptions, Optional>> & Pick<WorkerOptions, Optional>;
export type Resolved = {
  [K in keyof Filled]: K extends Optional ? Filled[K] : Exclude<Filled[K], undefined>;
};

export function withDefaults(options: WorkerOptions): Resolved {
  const directory = process.cwd();
  return {
    ...options,
    name: options.name ?? `${hostname()}:${directory}`,
    registry: options.registry ?? createRegistry(),
    once: options.once ?? false,
    concurrency: options.concurrency ?? defaults.concurrency,
    leaseMinutes: options.leaseMinutes ?? defaults.leaseMinutes,
    shutdownGraceSeconds: options.shutdownGraceSeconds ?? defaults.shutdownGraceSeconds,
    workspace: options.workspace ?? join(directory, '.ops-loop', 'workspace'),
    modelHealth: options.modelHealth ?? processHealth,
    secrets: options.secrets ?? ((name) => process.env[name]),
    print: options.print ?? ((line) => void process.stdout.write(`${line}\n`)),
    clock: options.clock ?? systemClock,
    random: options.random ?? Math.random,
    host: options.host ?? hostname(),
    pid: options.pid ?? process.pid,
  };
}
