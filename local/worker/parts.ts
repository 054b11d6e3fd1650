/** Builds a worker's parts and connects them: claimer → runner → completer, with leases and wake-ups beside. */
import type { Logger } from 'pino';
import type { ExecutorDatabase, Policies } from '../executors/contract.js';
import type { Attempt } from './attempt.js';
import { Claimer } from './claimer.js';
import { type Answer, backPressure, Completer } from './completer.js';
import { LeaseKeeper } from './lease.js';
import { Listener } from './listener.js';
import { write } from './log.js';
import { ModelReporter } from './models.js';
import type { Resolved } from './options.js';
import { Outage } from './outage.js';
import type { Written } from './outcome.js';
import type { NamedPort } from './own-name.js';
import { Reactor } from './reactive.js';
import { Runner } from './runner.js';
import type { Surroundings } from './scope.js';
import { resolveSettings, type Settings } from './settings.js';
import { Slots } from './slots.js';
import { Lifecycle } from './state.js';
import { Wakeup } from './wakeup.js';
import { sendOver } from './write-back.js';

/** Where an outcome is counted. */
const tallied = { complete: 'succeeded', fail: 'failed', release: 'released' } as const;
export type Tally = {
  succeeded: number;
  failed: number;
  released: number;
  lost: number;
  deadLettered: number;
};

/** Settings can change while the worker runs; parts ask for them when they need them. */
export type Current = { settings: Settings; surroundings: Surroundings };

export function currentSettings(options: Resolved, policies: Policies, log: Logger): Current {
  const settings = resolveSettings(policies, options);
  const { port, secrets, name: worker } = options;
  const { radarAdd, radarMove, radarWeigh, radarList, radarTop, radarGet } = port;
  const db: ExecutorDatabase = {
    ...{ radarAdd, radarMove, radarWeigh, radarList, radarTop, radarGet },
    voteAsStep: (lease) => port.voteAsStep({ worker, ...lease }),
    makeLinksAsStep: (lease) => port.makeLinksAsStep({ worker, ...lease }),
  };
  return { settings, surroundings: { log, db, secrets, policies, workspace: settings.workspace } };
}

export type Parts = ReturnType<typeof buildParts>;

/** `named` carries the calls that say whether the worker still has its name. */
export function buildParts(options: Resolved, named: NamedPort, log: Logger, onIdle: () => void) {
  const { port, clock, random, registry, name: worker } = options;
  const lifecycle = new Lifecycle();
  const outage = new Outage(log, random);
  const tally: Tally = { succeeded: 0, failed: 0, released: 0, lost: 0, deadLettered: 0 };
  const current = { now: currentSettings(options, { worker_policy: {}, agent_roles: {} }, log) };
  const leaseMs = () => current.now.settings.leaseMs;
  const isRunning = () => lifecycle.state === 'running';
  const slots = new Slots(options.concurrency, registry.executors);

  const wakeup: Wakeup = new Wakeup({
    ...{ port: named, clock, random, worker, onIdle },
    executors: registry.names,
    outage: outage.counter(),
    isListening: () => listener?.live ?? false,
    isWriting: () => completer.unwritten > 0,
  });
  const keeper = new LeaseKeeper({
    ...{ port: named, clock, log, worker, leaseMs },
    outage: outage.counter(),
    onLost: () => tally.lost++,
    onTrust: () => wakeup.ring(),
  });
  const completer: Completer = new Completer({
    ...{ clock, log },
    send: sendOver(port, worker),
    outage: outage.counter(),
    onSettled: (attempt, kind, answer) => settled(attempt, kind, answer),
    onStored: () => wakeup.ring(),
  });
  const runner = new Runner({
    ...{ slots, clock, log },
    surroundings: () => current.now.surroundings,
    timeoutMs: (step) => current.now.settings.timeoutMs(step),
    onOutcome: (attempt, outcome, meta) => completer.push(attempt, outcome, meta),
    onFree: () => wakeup.ring(),
    onSweep: () => keeper.sweep(),
  });
  const claimer = new Claimer({
    ...{ port, clock, log, worker, slots, registry, leaseMs },
    outage: outage.counter(),
    mayClaim: () => isRunning() && keeper.trusting && completer.unwritten < backPressure,
    onClaimed: (attempts) => attempts.forEach(accept),
  });
  const models = new ModelReporter({
    ...{ port, clock, log, worker },
    health: options.modelHealth,
    setting: options.secrets,
  });
  const reactor =
    options.reactive &&
    new Reactor({
      ...{ port, clock, random, log, isRunning },
      outage: outage.counter(),
      beat: options.reactive,
      isListening: () => listener?.live ?? false,
      onWork: () => wakeup.notify(),
    });
  const listener =
    options.listen &&
    new Listener({
      ...{ clock, random, log },
      listen: options.listen,
      onHeard: (channel) => (channel === 'ops_steps' ? wakeup.notify() : reactor?.ring()),
    });

  /** Claimed steps start, unless they came too late: then they are given back. */
  function accept(attempt: Attempt): void {
    keeper.hold(attempt);
    if (attempt.trustedUntil <= clock.now()) keeper.lose(attempt, 'the claim was answered too late');
    else if (isRunning()) runner.start(attempt);
    else completer.push(attempt, { kind: 'release' }, undefined);
  }

  function settled(attempt: Attempt, kind: Written['kind'], answer: Answer | undefined): void {
    keeper.drop(attempt);
    tally[answer === undefined ? 'lost' : tallied[kind]]++;
    if (answer?.ready_at) wakeup.due(answer.ready_at);
    if (answer?.dead_lettered !== true) return;
    tally.deadLettered++;
    const { id: step_id, mission_id, executor, attempt: tries } = attempt.step;
    write(log, 'error', {
      event: 'step.dead_lettered',
      code: 'OPS_007',
      step_id,
      mission_id,
      executor,
      attempt: tries,
    });
  }

  return {
    lifecycle,
    outage,
    tally,
    current,
    slots,
    wakeup,
    keeper,
    completer,
    runner,
    claimer,
    models,
    reactor,
    listener,
  };
}
