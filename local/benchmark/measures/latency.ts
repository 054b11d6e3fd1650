/**
 * How long work waits on an idle system: a worker process sleeps, this one hands it one thing at a time, with
 * jittered gaps. From the acknowledgement of the proposal, or from the call that records the event, to the
 * executor's first line, on the monotonic clock that both share.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { type Figure, quantile } from '../figure.js';
import { now } from '../protocol.js';
import { mark, openGates, type Room } from '../room.js';
import { type WorkerChild, type WorkerWish, withIdleWorker } from '../worker.js';
import type { Measure } from './measure.js';

/** Longer than a worker goes on looking after its last step (5, 20 and 80 ms), for one that nobody wakes. */
const gapMs = { woken: 50, polling: 400 } as const;
/** The first ones compile code on both sides and do not count. */
const warmUp = 5;
const patienceMs = 10_000;

type Send = (room: Room, seq: number) => Promise<number>;
type Shares = [label: string, share: number][];
type Pings = { count: number; gap: number; send: Send };

const proposed: Send = async ({ database: { port } }, seq) => {
  await port.createProposal({ template: { title: mark, steps: [{ kind: 'noop', params: { echo: seq } }] } });
  return now();
};

const emitted: Send = async ({ database: { port } }, seq) => {
  const called = now();
  await port.emitEvent({ type: `${mark}:ping`, data: { seq } });
  return called;
};

/** Milliseconds each one waited. */
async function waits(room: Room, worker: WorkerChild, { count, gap, send }: Pings): Promise<number[]> {
  const taken: number[] = [];
  for (let seq = -Math.min(warmUp, count); seq < count; seq++) {
    await pause(gap * (0.8 + Math.random() * 0.4));
    const sent = await send(room, seq);
    const began = await beginning(worker, seq);
    if (seq >= 0) taken.push(Math.max(0, began - sent));
  }
  return taken;
}

async function beginning({ began }: WorkerChild, seq: number): Promise<number> {
  for (const end = now() + patienceMs; now() < end; await pause(1)) {
    const at = began.get(seq);
    if (at !== undefined) return at;
  }
  throw new Error(`number ${seq} was not picked up within ${patienceMs / 1_000} s`);
}

const spread = (name: string, values: number[], shares: Shares): Figure[] =>
  shares.map(([label, share]) => ({ name: `${name}, ${label}`, value: quantile(values, share), unit: 'ms' }));

const both: Shares = [
  ['p50', 0.5],
  ['p99', 0.99],
];

function pickUp(
  name: string,
  wish: WorkerWish,
  pings: (room: Room) => Omit<Pings, 'send'>,
  shares: Shares,
): Measure {
  return {
    name,
    async run(room) {
      await openGates(room.database);
      const use = (worker: WorkerChild) => waits(room, worker, { ...pings(room), send: proposed });
      return spread(name, await withIdleWorker(room.url, { ...wish, report: true }, use), shares);
    },
  };
}

const reactive: Measure = {
  name: 'event to executor, reactive',
  async run(room) {
    const { database, url, sizes } = room;
    await openGates(database);
    await database.port.setPolicy({ key: 'reaction_matrix', value: pingMatrix, reason: mark });
    const wish = { listen: true, reactive: true, report: true };
    const use = (worker: WorkerChild) =>
      waits(room, worker, { count: sizes.reactivePings, gap: gapMs.woken, send: emitted });
    return spread(this.name, await withIdleWorker(url, wish, use), both);
  },
};

const pingMatrix = {
  patterns: [
    {
      id: mark,
      event_type: `${mark}:ping`,
      template: { title: mark, steps: [{ kind: 'noop', params: { echo: '{{event.data.seq}}' } }] },
    },
  ],
};

export const latencies: Measure[] = [
  pickUp(
    'pick-up by LISTEN',
    { listen: true },
    ({ sizes }) => ({ count: sizes.pings, gap: gapMs.woken }),
    both,
  ),
  pickUp('pick-up by polling', {}, ({ sizes }) => ({ count: sizes.pollPings, gap: gapMs.polling }), [
    ['p50', 0.5],
    ['longest', 1],
  ]),
  reactive,
];
