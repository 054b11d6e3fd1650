/**
 * The course of a drill: first each fault alone, each given time to recover, however long that takes; then, until the
 * time is up, a fault or a pair of faults every five seconds, whether the last ones have been recovered from or not.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Arena } from './arena.js';
import { monotonicMs } from './effects.js';
import type { Condition, Fault } from './fault.js';
import { probe } from './load.js';
import type { Dice } from './random.js';

export type Strike = {
  fault: string;
  /** Struck while no other fault was at work, or still being recovered from. */
  alone: boolean;
  /** Milliseconds of the shared monotonic clock. */
  from: number;
  /** When the harm was undone. */
  healedAt: number;
  /** When a probe had run through and the fault's own condition held; undefined if that never came true. */
  recoveredAt: number | undefined;
  /** Probes that took longer than usual, and where they stood. */
  late: string[];
  problem?: string;
};

export type Campaign = {
  faults: readonly Fault[];
  everyMs: number;
  durationMs: number;
  onStrike: (strike: Strike) => void;
};

/** Longest wait for recovery when faults come one upon the other: a minute of silence may be among them. */
const patienceMs = 120_000;
let probes = 0;

export async function runCampaign(
  arena: Arena,
  { faults, everyMs, durationMs, onStrike }: Campaign,
): Promise<Strike[]> {
  const { dice } = arena;
  const end = monotonicMs() + durationMs;
  const strikes: Promise<Strike>[] = [];
  const busy = new Set<string>();
  const strikeOne = async (fault: Fault, alone: boolean): Promise<Strike> => {
    busy.add(fault.name);
    const result = await strikeWith(arena, fault, alone).finally(() => busy.delete(fault.name));
    onStrike(result);
    return result;
  };
  for (const fault of dice.shuffle(faults)) {
    strikes.push(Promise.resolve(await atLeast(everyMs, strikeOne(fault, true))));
  }
  while (monotonicMs() < end) {
    for (const fault of nextFaults(faults, busy, dice)) strikes.push(strikeOne(fault, false));
    await pause(everyMs);
  }
  return Promise.all(strikes);
}

async function atLeast<T>(delayMs: number, work: Promise<T>): Promise<T> {
  const [result] = await Promise.all([work, pause(delayMs)]);
  return result;
}

/** One or two, of those that are not under way already. */
function nextFaults(faults: readonly Fault[], busy: ReadonlySet<string>, dice: Dice): Fault[] {
  const free = dice.shuffle(faults.filter(({ name }) => !busy.has(name)));
  return free.slice(0, dice.whole(1, 2));
}

async function strikeWith(arena: Arena, fault: Fault, alone: boolean): Promise<Strike> {
  const from = monotonicMs();
  const strike: Strike = { fault: fault.name, alone, from, healedAt: from, recoveredAt: undefined, late: [] };
  try {
    const condition = await fault.strike(arena, arena.dice);
    strike.healedAt = monotonicMs();
    const deadlineMs = alone ? fault.boundMs : Math.max(patienceMs, fault.boundMs);
    const [ran, held] = await Promise.all([
      probe(arena, `probe-${++probes}`, deadlineMs, (what) => strike.late.push(what)),
      holds(condition, deadlineMs),
    ]);
    if (ran !== undefined && held) return { ...strike, recoveredAt: monotonicMs() };
    const missing = ran === undefined ? 'no probe ran through' : 'its steps or its dead letter did not come';
    return { ...strike, problem: `not recovered within ${deadlineMs / 1_000} s: ${missing}` };
  } catch (error) {
    return { ...strike, problem: error instanceof Error ? error.message : String(error) };
  }
}

async function holds(condition: Condition | undefined, deadlineMs: number): Promise<boolean> {
  const deadline = monotonicMs() + deadlineMs;
  while (condition !== undefined && !(await condition())) {
    if (monotonicMs() > deadline) return false;
    await pause(50);
  }
  return true;
}
