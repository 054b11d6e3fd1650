/** Clients at work: events and proposals at a steady pace, some of them sent twice, and a beat every second. */
import { setTimeout as pause } from 'node:timers/promises';
import { runBeat } from '../../supabase/client/beat.js';
import type { Arena } from './arena.js';
import { callOnce, callUntilAnswered, type Send } from './calls.js';
import { monotonicMs } from './effects.js';
import type { Kind } from './ledger.js';
import { type Dice, diceOf } from './random.js';

export type Load = {
  /** Beat failures that no fault explains, as `phase code`, with a count. */
  beatFailures: Map<string, number>;
  stop(): Promise<void>;
};

const everyMs = 100;
/** More callers than this wait for an answer already: a client that piles up calls without end helps nobody. */
const maxOpenCalls = 100;
/** The database is away, or going, or coming, or refuses to write: what a beat may say during a fault. */
const expected = new Set(['OPS_001', '57P01', '57P02', '57P03', '25006', '53100', '53300']);

export function startLoad(arena: Arena, seed: number): Load {
  const dice = diceOf(seed);
  const beatFailures: Load['beatFailures'] = new Map();
  const stopping = new AbortController();
  const calls = new Set<Promise<unknown>>();
  const loops = [
    every(everyMs, stopping.signal, (n) => {
      if (calls.size >= maxOpenCalls) return;
      const call = makeCall(arena, dice, n);
      calls.add(call);
      void call.finally(() => calls.delete(call));
    }),
    every(1_000, stopping.signal, () => beat(arena, beatFailures)),
  ];
  return {
    beatFailures,
    stop: async () => {
      stopping.abort();
      await Promise.all(loops);
      await Promise.all(calls);
    },
  };
}

/** A further turn waits for the one before; the time in between is the same. */
async function every(
  delayMs: number,
  signal: AbortSignal,
  turn: (n: number) => Promise<void> | void,
): Promise<void> {
  for (let n = 0; !signal.aborted; n++) {
    await turn(n);
    await pause(delayMs, undefined, { signal }).catch(() => {});
  }
}

async function beat(arena: Arena, failures: Load['beatFailures']): Promise<void> {
  const answer = await runBeat(arena.client.port, { source: 'drill' });
  for (const { phase, code, message } of answer.failures) {
    if (expected.has(code)) continue;
    const what = `${phase} ${code} ${message.slice(0, 200)}`;
    failures.set(what, (failures.get(what) ?? 0) + 1);
  }
}

/** One of ten sends the same twice at once; one of two goes on asking after a call without an answer. */
async function makeCall(arena: Arena, dice: Dice, n: number): Promise<void> {
  const { ledger, client } = arena;
  const { kind, key, send } = dice.chance(0.8) ? eventCall(dice, n) : proposalCall(dice, n);
  const goesOn = dice.chance(0.5);
  const copies = dice.chance(0.1) ? 2 : 1;
  const one = () =>
    goesOn
      ? callUntilAnswered(ledger, kind, key, client.port, send, 30_000)
      : callOnce(ledger, kind, key, client.port, send);
  await Promise.all(Array.from({ length: copies }, one));
}

type Prepared = { kind: Kind; key: string; send: Send };

function eventCall(dice: Dice, n: number): Prepared {
  const key = `event-${n}`;
  const data = { n, ...durations(dice) };
  return { kind: 'event', key, send: (port) => port.emitEvent({ type: 'drill:work', data, dedupeKey: key }) };
}

function proposalCall(dice: Dice, n: number): Prepared {
  const key = `proposal-${n}`;
  const template = {
    title: `Proposal ${n}`,
    steps: [{ key: 'only', kind: dice.chance(0.3) ? 'drill_once' : 'drill', params: durations(dice) }],
  };
  return {
    kind: 'proposal',
    key,
    send: (port) => port.createProposal({ template, source: 'api', dedupeKey: key }),
  };
}

/** Mostly short; some steps are long enough to be caught in the middle by a fault. */
function durations(dice: Dice): { before_ms: number; after_ms: number } {
  const long = dice.chance(0.1) ? 3_000 : 50;
  return { before_ms: dice.whole(0, long), after_ms: dice.whole(0, long) };
}

/** A probe that is not done after this is sent anew: an edited policy may have put the last one before a person. */
const probeAgainMs = 5_000;

/** Emits probes until one has been carried out. Answers milliseconds, or undefined past the deadline. */
export async function probe(
  arena: Arena,
  key: string,
  deadlineMs: number,
  onLate: (what: string) => void,
): Promise<number | undefined> {
  const start = monotonicMs();
  const left = () => deadlineMs - (monotonicMs() - start);
  for (let n = 1; left() > 0; n++) {
    if (await probeOnce(arena, `${key}-${n}`, left(), onLate)) return monotonicMs() - start;
  }
  return undefined;
}

async function probeOnce(
  { ledger, client, ask }: Arena,
  key: string,
  leftMs: number,
  onLate: (what: string) => void,
): Promise<boolean> {
  const send: Send = (port) => port.emitEvent({ type: 'drill:probe', data: {}, dedupeKey: key });
  if (!(await callUntilAnswered(ledger, 'event', key, client.port, send, leftMs))) return false;
  const deadline = monotonicMs() + Math.min(leftMs, probeAgainMs);
  while (monotonicMs() < deadline) {
    const [row] = await ask<{ done: boolean }>(probeDone, [key]);
    if (row?.done === true) return true;
    await pause(25);
  }
  const [late] = await ask<{ why: string }>(probeWhy, [key]);
  onLate(`${key} is late: ${late?.why}`);
  return false;
}

/** Where a probe stands. */
const probeWhy = `
  select format('event %s, reaction %s (%s), proposal %s (%s), mission %s, step %s (%s)', coalesce(e.outcome, 'open'), r.status, r.last_error,
    p.status, p.reason, m.status, s.status, s.wait_reason) as why
  from ops_agent_events e left join ops_agent_reactions r on r.event_id = e.id left join ops_mission_proposals p on p.event_id = e.id
  left join ops_missions m on m.proposal_id = p.id left join ops_mission_steps s on s.mission_id = m.id where e.dedupe_key = $1`;

const probeDone = `
  select exists (select from ops_agent_events e join ops_mission_proposals p on p.event_id = e.id
    join ops_missions m on m.proposal_id = p.id where e.dedupe_key = $1 and m.completed_at is not null) as done`;
