/**
 * The model: what the world outside of the database knows. It holds no copy of the engine; it holds what clients
 * were told, and the rules say what must follow from that.
 */
import type { AttemptStatus, Retention, Snapshot, StepRow } from './rows.js';
import { runId } from './snapshot.js';

export type Lease = { step: string; epoch: number };

/** One attempt as its worker knows it. */
export type Attempt = Lease & {
  worker: string;
  executor: string;
  series: number;
  claimedAt: number;
  /** It was claimed while the executor had a rate. */
  rated: boolean;
  /** What the worker was told it became; `started` while it has not been told anything. */
  told: AttemptStatus;
  /** An operator set the count of failures back. */
  forgiven?: boolean;
  /** Its row is rightly gone. */
  archived?: boolean;
};

export type Model = {
  /** The database after the last command. */
  last: Snapshot;
  /** What each worker believes it holds. It may be wrong: leases run out. */
  memory: Map<string, Lease[]>;
  /** Every attempt there ever was, by run id. */
  attempts: Map<string, Attempt>;
  /** Events that were acknowledged to their sender, by id. */
  events: Map<string, { type: string; n: number }>;
  /** Dedupe key → id of the event that was acknowledged first. */
  keys: Map<string, string>;
  /** The largest max_retries, depth and fan-out that were ever in force. */
  most: { retries: number; depth: number; fanOut: number };
  /** The latest time there was: the clock may step back, but not far. */
  latest: number;
  /** Ids of rows that are rightly gone. */
  archived: Set<string>;
  /** Ids of steps and proposals of whose story a part is gone. */
  thinned: Set<string>;
  /** How often each command did something, and how often a step was held for each kind of reason. */
  done: Map<string, number>;
};

export const workers = ['ada', 'bob', 'cyd'] as const;
export const executors = ['noop', 'agent', 'openclaw'] as const;
/** The trait of the built-in executors: may run again when nobody knows how far it came. */
export const idempotent = (executor: string): boolean => executor !== 'openclaw';

/** Values that hold without a policy (SPEC 4 and 5). */
export const defaults = { maxRetries: 3, staleMinutes: 15, timeoutSeconds: 600, maxDepth: 8, maxFanOut: 100 };

export const emptyModel = (last: Snapshot, now: number): Model => ({
  last,
  memory: new Map(workers.map((worker) => [worker, []])),
  attempts: new Map(),
  events: new Map(),
  keys: new Map(),
  most: { retries: defaults.maxRetries, depth: defaults.maxDepth, fanOut: defaults.maxFanOut },
  latest: now,
  archived: new Set(),
  thinned: new Set(),
  done: new Map(),
});

/** What a command did, as far as the rules have to know: they refuse every change that nothing here allows. */
export type Effect = {
  /** Nothing at all may have changed. */
  quiet?: boolean;
  /** Leases that ran out may have been taken away. */
  recovers?: boolean;
  /** A beat may have decided events and waiting proposals. */
  beats?: boolean;
  /** Waiting proposals that a person decided. */
  decided?: string[];
  /** Closed events that an operator opened again. */
  reopened?: string[];
  /** Attempts that a worker ended: run id → what it was told. */
  ended?: Map<string, AttemptStatus>;
  /** Attempts that a worker started. */
  claimed?: Attempt[];
  /** Failed and cancelled steps that an operator asked to run again. */
  revived?: string[];
  /** The retention under which finished rows may go. */
  archives?: Retention;
  /** Steps that an operator cancelled or asked to stop. */
  cancelled?: string[];
  /** What must hold of this one command beyond the rules. */
  check?: (after: Snapshot) => Iterable<string>;
};

export type View = { before: Snapshot; after: Snapshot; effect: Effect; model: Model; now: number };

/** Everything wrong that a rule sees, a sentence each. */
export type Rule = (view: View) => Iterable<string>;

/** Whether the step is running under exactly this lease. */
export const isLive = (snapshot: Snapshot, { step, epoch }: Lease): boolean => {
  const row = snapshot.steps.get(step);
  return row?.status === 'running' && row.lease_epoch === epoch;
};

export const remember = (model: Model, worker: string): Lease[] => model.memory.get(worker) ?? [];

/** The n-th worker that believes it holds something; the first of all if none does. */
export const busyWorker = (model: Model, n: number): string =>
  nth(
    workers.filter((worker) => remember(model, worker).length > 0),
    n,
  ) ?? workers[0];

export const forget = (model: Model, worker: string, lost: Lease[]): void => {
  const gone = new Set(lost.map((lease) => runId(lease.step, lease.epoch)));
  const kept = remember(model, worker).filter((lease) => !gone.has(runId(lease.step, lease.epoch)));
  model.memory.set(worker, kept);
};

/** The n-th of a list, counted round: a number that a program holds always means something. */
export const nth = <T>(list: T[], n: number): T | undefined => list[n % Math.max(list.length, 1)];

export const say = ({ key, status, lease_epoch, series, mission_id, wait_reason }: StepRow): string =>
  `step ${key} of ${mission_id.slice(0, 8)} (${status}${wait_reason ? ` ${wait_reason}` : ''}, epoch ${lease_epoch}, series ${series})`;

/** How long an attempt may run before the sweep ends it: its timeout and a minute of grace. */
export const runningTimeoutMs = ({ policies }: Snapshot, { timeout_seconds, executor }: StepRow): number => {
  const { executors: own, timeout_seconds: general } = policies.worker_policy;
  const seconds = timeout_seconds ?? own?.[executor]?.timeout_seconds ?? general ?? defaults.timeoutSeconds;
  return (seconds + 60) * 1000;
};
