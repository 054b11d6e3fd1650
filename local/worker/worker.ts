/**
 * The worker: claims steps, runs them, writes back what came of it, until it is told to stop. The hot path is
 * `claimer.ts` → `runner.ts` → `completer.ts`; `lease.ts` says when it may go on, `wakeup.ts` when to look again.
 */
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { OpsError } from '../../supabase/client/errors.js';
import { sweepStrays } from '../process/strays.js';
import { Bell, Latch } from './bell.js';
import { claimLoop } from './claim-loop.js';
import { type Cancel, type Clock, repeat } from './clock.js';
import { renewEveryMs } from './lease.js';
import { write } from './log.js';
import { type Resolved, type WorkerOptions, withDefaults } from './options.js';
import type { FailureCounter } from './outage.js';
import { underOwnName } from './own-name.js';
import { buildParts, currentSettings, type Parts, type Tally } from './parts.js';
import { recoverEveryMs, recoverExpired } from './recovery.js';
import { type Identity, instancesHere } from './registration.js';
import { drain, goodbyeMs } from './shutdown.js';
import { type Startup, startUp } from './startup.js';
import type { WorkerState } from './state.js';

/** `drained`: nothing was left (`once`). `forced`: ended without waiting. `replaced`: another has its name. */
export type ExitReason = 'stopped' | 'drained' | 'already_running' | 'forced' | 'replaced';
export type Stats = Tally & { state: WorkerState; running: number; unwritten: number; claimed: number };

export type Worker = {
  readonly name: string;
  /** Stops claiming, lets running steps finish within the grace, writes everything, unregisters. */
  stop(): Promise<ExitReason>;
  /** Aborts every step at once and waits for nothing; the caller ends the process. */
  force(): void;
  /** Reads the policies again, and takes over the level of the logger it was given. */
  reload(): Promise<void>;
  readonly done: Promise<ExitReason>;
  /** Who has its name now, as `OPS_006`; set once it is `replaced`. */
  readonly replacedBy: OpsError | undefined;
  stats(): Stats;
  /** One tick of each loop, for tests. */
  readonly ticks: Ticks;
};
type Ticks = Record<'claim' | 'renew' | 'recover' | 'flush', () => Promise<unknown>> & { sweep(): void };

/**
 * Starts a worker. Resolves when it has its name, or is refused (`done` is `already_running` then). Waits for a
 * database that is away. Throws `OPS_013` for a schema that is too old and `OPS_001` when the database refuses it.
 */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const shell = new Shell(withDefaults(options));
  await shell.start();
  return shell;
}

class Shell implements Worker {
  readonly done: Promise<ExitReason>;
  replacedBy: OpsError | undefined;
  readonly #options: Resolved;
  readonly #identity: Identity;
  readonly #log: Logger;
  readonly #parts: Parts;
  readonly #bell = new Bell();
  #starting: Promise<Startup> | undefined;
  #stopping: Promise<void> | undefined;
  #isRegistered = false;
  #claims: Promise<unknown> | undefined;
  #beats: Promise<unknown> | undefined;
  #listening: Promise<unknown> | undefined;
  #cancels: Cancel[] = [];
  #end: (reason: ExitReason) => void = () => {};
  #saidIdle = false;
  #housekeeping: FailureCounter | undefined;

  constructor(options: Resolved) {
    const { name, host, pid, log } = options;
    this.#options = options;
    this.#identity = { name, host, pid, instance: randomUUID() };
    this.#log = log.child({ worker_id: name });
    const named = underOwnName(options.port, this.#identity.instance, (why) => this.#giveWay(why));
    this.#parts = buildParts(options, named, this.#log, () => this.#sayIdle());
    this.done = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  get name(): string {
    return this.#options.name;
  }

  get ticks(): Ticks {
    const { claimer, keeper, completer, runner } = this.#parts;
    return {
      claim: () => claimer.tick(),
      renew: () => keeper.renew(),
      recover: () => this.#recover(),
      flush: () => completer.flush(),
      sweep: () => runner.sweep(),
    };
  }

  stats(): Stats {
    const { tally, lifecycle, runner, completer, claimer } = this.#parts;
    const { state } = lifecycle;
    return {
      ...tally,
      state,
      running: runner.running.size,
      unwritten: completer.unwritten,
      claimed: claimer.claimed,
    };
  }

  async start(): Promise<void> {
    const { database, print, signal } = this.#options;
    if (database !== undefined) print(`worker ${this.name}, database ${database.name} on ${database.host}`);
    if (signal?.aborted === true) void this.stop();
    signal?.addEventListener('abort', () => void this.stop(), { once: true });
    this.#starting = this.#startUp();
    const outcome = await Promise.race([this.#starting, this.done.then(() => 'stopped' as const)]);
    if (outcome === 'registered' && this.#stopping === undefined) this.#run();
    if (outcome !== 'already_running') return;
    print('worker already running');
    this.#finish('already_running');
  }

  stop(): Promise<ExitReason> {
    this.#stopping ??= this.#shutDown('stopped');
    return this.done;
  }

  force(): void {
    this.#parts.runner.endAll('shutdown');
    this.#end('forced');
  }

  async reload(): Promise<void> {
    // A child logger keeps the level that its parent had when it was made.
    this.#log.level = this.#options.log.level;
    await this.#readConfig();
    write(this.#log, 'info', { event: 'worker.reloaded' });
  }

  async #startUp(): Promise<Startup> {
    const [options, identity, log, bell] = [this.#options, this.#identity, this.#log, this.#bell];
    const isStopping = () => this.#stopping !== undefined;
    try {
      const outcome = await startUp({
        options,
        identity,
        log,
        bell,
        isStopping,
        outage: this.#parts.outage.counter(),
        prepare: () => this.#readConfig(),
      });
      // Told to stop while it waited for the database: it may have got its name before.
      this.#isRegistered = outcome !== 'already_running';
      if (outcome === 'registered') await this.#sweepStrays();
      return outcome;
    } catch (error) {
      this.#finish('stopped');
      throw error;
    }
  }

  #run(): void {
    const { clock, random, concurrency, registry } = this.#options;
    const { lifecycle, keeper, listener, models, reactor, current } = this.#parts;
    const { leaseMs } = current.now.settings;
    instancesHere.add(this.#identity.instance);
    lifecycle.to('running');
    const executors = registry.names;
    write(this.#log, 'info', {
      event: 'worker.started',
      ...this.#identity,
      executors,
      concurrency,
      lease_ms: leaseMs,
    });
    let renewInMs = renewEveryMs(leaseMs);
    const renew = async () => {
      renewInMs = await keeper.renew();
      void models.tick();
    };
    void models.tick();
    this.#cancels = [
      repeat(clock, () => renewInMs, renew),
      repeat(
        clock,
        () => recoverEveryMs(random),
        () => this.#recover(),
      ),
    ];
    void listener?.connect();
    this.#claims = this.#claim();
    this.#beats = reactor?.run();
  }

  async #claim(): Promise<void> {
    await this.#recover();
    const ended = await claimLoop(this.#parts, this.#options.once);
    if (ended === 'stopped') return;
    this.#sayIdle();
    this.#stopping ??= this.#shutDown('drained');
  }

  #giveWay(why: OpsError): void {
    const { code, message, detail } = why;
    this.replacedBy = why;
    write(this.#log, 'error', { event: 'worker.replaced', code, error: message, holder: detail });
    this.#stopping ??= this.#shutDown('replaced');
  }

  async #shutDown(reason: ExitReason): Promise<void> {
    const { clock } = this.#options;
    this.#bell.ring();
    if (this.#parts.lifecycle.state === 'running') await this.#drain();
    else await endedWithin(clock, this.#graceMs, this.#starting);
    const goodbye = [this.#beats, this.#listening, this.#isRegistered && this.#unregister()];
    await endedWithin(clock, goodbyeMs, Promise.allSettled(goodbye));
    this.#finish(reason);
  }

  async #drain(): Promise<void> {
    const { wakeup, reactor, listener } = this.#parts;
    const { clock } = this.#options;
    const wake = () => {
      this.#listening = listener?.stop();
      wakeup.ring();
      reactor?.ring();
    };
    const claimsEnded = (delayMs: number) => endedWithin(clock, delayMs, this.#claims);
    await drain({ ...this.#parts, log: this.#log, graceMs: this.#graceMs, wake, claimsEnded });
    for (const cancel of this.#cancels) cancel();
  }

  /** Without the database the row stays; it counts as dead after a minute, and on this host at once. */
  #unregister(): Promise<unknown> {
    const { name, instance } = this.#identity;
    return this.#options.port.unregisterWorker({ name, instance }, { deadlineMs: goodbyeMs });
  }

  get #graceMs(): number {
    return this.#options.shutdownGraceSeconds * 1_000;
  }

  #finish(reason: ExitReason): void {
    const { lifecycle } = this.#parts;
    instancesHere.delete(this.#identity.instance);
    if (lifecycle.state !== 'stopped') lifecycle.to('stopped');
    write(this.#log, 'info', { event: 'worker.stopped', reason, ...this.stats() });
    this.#end(reason);
  }

  async #recover(): Promise<void> {
    const { port } = this.#options;
    const { outage, wakeup } = this.#parts;
    this.#housekeeping ??= outage.counter();
    await recoverExpired({
      port,
      log: this.#log,
      outage: this.#housekeeping,
      onRequeued: () => {
        wakeup.notify();
        void this.#sweepStrays();
      },
    });
    await this.#readConfig().catch((error) => this.#housekeeping?.failed(error));
  }

  /** What a killed worker of this machine left running would work beside the next try of the same step. */
  async #sweepStrays(): Promise<void> {
    const pids = (await sweepStrays()).map(({ pid }) => pid);
    if (pids.length > 0) write(this.#log, 'warn', { event: 'strays.ended', pids });
  }

  async #readConfig(): Promise<void> {
    const { worker_policy, agent_roles } = await this.#options.port.workerConfig();
    this.#parts.current.now = currentSettings(this.#options, { worker_policy, agent_roles }, this.#log);
  }

  #sayIdle(): void {
    if (this.#saidIdle || (this.#options.once && this.#parts.claimer.claimed > 0)) return;
    this.#saidIdle = true;
    this.#options.print('No queued steps');
  }
}

/** Waits for the work, but not longer than this. */
async function endedWithin(clock: Clock, delayMs: number, work: Promise<unknown> | undefined): Promise<void> {
  const latch = new Latch();
  const open = () => latch.open();
  void Promise.resolve(work).then(open, open);
  await latch.wait(clock, delayMs);
}
