/** How fast worker processes empty the queue, and what that costs in processor time and memory. */
import { type Figure, perSecond } from '../figure.js';
import type { Ended } from '../protocol.js';
import { expectCount, fillMissions, mark, openGates, type Room, settle } from '../room.js';
import { drain, type WorkerWish } from '../worker.js';
import type { Measure } from './measure.js';

type Load = { missions: number; steps: number };
type Drained = { ms: number; workers: Ended[]; serverMs: number | undefined; filledMs: number };

const doneMissions = `select count(*) as n from public.ops_missions where title = '${mark}' and status = 'succeeded'`;
const doneRuns = `select count(*) as n from public.ops_action_runs r join public.ops_missions m on m.id = r.mission_id
  where m.title = '${mark}' and r.status = 'succeeded'`;

async function drained(room: Room, { missions, steps }: Load, wishes: WorkerWish[]): Promise<Drained> {
  const { database, url } = room;
  await openGates(database);
  const filledMs = await fillMissions(database, missions, steps);
  await settle(database);
  const before = await room.serverCpuMs();
  const workers = await drain(url, wishes);
  const after = await room.serverCpuMs();
  await expectCount(database, doneMissions, missions);
  await expectCount(database, doneRuns, missions * steps);
  const ms = Math.max(...workers.map((w) => w.ended)) - Math.min(...workers.map((w) => w.started));
  return {
    ms,
    workers,
    filledMs,
    serverMs: after === undefined || before === undefined ? undefined : after - before,
  };
}

function costs(name: string, count: number, { workers, serverMs }: Drained): Figure[] {
  const clientMs = workers.reduce((sum, { cpuMs }) => sum + cpuMs, 0);
  return [
    { name: `${name}: worker`, value: (clientMs / count) * 1_000, unit: 'µs/step' },
    {
      name: `${name}: server`,
      value: serverMs === undefined ? null : (serverMs / count) * 1_000,
      unit: 'µs/step',
    },
    {
      name: `${name}: memory of the worker`,
      value: Math.max(...workers.map(({ rssMb }) => rssMb)),
      unit: 'MB',
    },
  ];
}

function steps(name: string, wishes: WorkerWish[]): Measure {
  return {
    name,
    async run(room) {
      const count = room.sizes.steps;
      const took = await drained(room, { missions: count, steps: 1 }, wishes);
      return [
        { name, value: perSecond(count, took.ms), unit: 'steps/s' },
        ...costs(name, count, took),
        { name: 'bulk propose', value: perSecond(count, took.filledMs), unit: 'proposals/s' },
      ];
    },
  };
}

const missions: Measure = {
  name: 'missions of 3 steps with stored results',
  async run(room) {
    const count = room.sizes.missions;
    const took = await drained(room, { missions: count, steps: 3 }, [{}]);
    return [
      { name: this.name, value: perSecond(count, took.ms), unit: 'missions/s' },
      { name: `${this.name}, steps`, value: perSecond(count * 3, took.ms), unit: 'steps/s' },
    ];
  },
};

export const drains: Measure[] = [
  steps('no-op steps, default settings', [{}]),
  steps('no-op steps, concurrency 1,000', [{ concurrency: 1_000 }]),
  steps('no-op steps, two worker processes', [{}, {}]),
  missions,
];
