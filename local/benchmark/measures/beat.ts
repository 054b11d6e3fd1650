/** Heartbeats: over open events with a full matrix, and with nothing to do. */
import { type Figure, median, perSecond, quantile } from '../figure.js';
import { expectCount, mark, openGates, type Room, settle } from '../room.js';
import type { Measure } from './measure.js';

/** 50 patterns over 50 types, each with a condition; `share` of the events meets it. */
const matrix = {
  patterns: Array.from({ length: 50 }, (_, i) => ({
    id: `${mark}_${i}`,
    event_type: `${mark}:type_${i}`,
    where: '$.data.level >= 5 && $.data.name starts with "n"',
    template: { title: mark, steps: [{ kind: 'noop', params: { echo: '{{event.data.name}}' } }] },
  })),
};

const events = (from: number, count: number, share: number, matching: boolean) =>
  Array.from({ length: count }, (_, k) => {
    const i = from + k;
    const fires = share > 0 && i % Math.round(1 / share) === 0;
    const type = `${mark}:${matching ? 'type' : 'other'}_${i % 50}`;
    return { type, data: { level: fires ? 7 : 1, name: `n${i}` } };
  });

const open = `select count(*) as n from public.ops_agent_events where type like '${mark}:%' and processed_at is null`;
const made = `select count(*) as n from public.ops_missions where title = '${mark}'`;

function overEvents(name: string, share: number, matching = true): Measure {
  return {
    name,
    async run({ database, sizes: { events: count } }: Room) {
      const { port } = database;
      await openGates(database);
      await port.setPolicy({ key: 'reaction_matrix', value: matrix, reason: mark });
      const emitted = performance.now();
      for (let i = 0; i < count; i += 2_000)
        await port.emitEvents({ events: events(i, Math.min(2_000, count - i), share, matching) });
      const emitMs = performance.now() - emitted;
      await settle(database);
      const started = performance.now();
      for (let more = true; more; ) ({ more } = await port.heartbeat({ source: 'reactive' }));
      const ms = performance.now() - started;
      await expectCount(database, open, 0);
      await expectCount(database, made, matching ? Math.ceil(count * share) : 0);
      return [
        { name, value: perSecond(count, ms), unit: 'events/s' },
        { name: 'bulk emit', value: perSecond(count, emitMs), unit: 'events/s' },
      ];
    },
  };
}

const idle: Measure = {
  name: 'idle beat',
  async run({ database: { port }, sizes: { beats } }): Promise<Figure[]> {
    const times: number[] = [];
    for (let i = -3; i < beats; i++) {
      const started = performance.now();
      await port.heartbeat({ source: 'reactive' });
      if (i >= 0) times.push(performance.now() - started);
    }
    return [
      { name: this.name, value: median(times), unit: 'ms' },
      { name: 'idle beat, p95', value: quantile(times, 0.95), unit: 'ms' },
    ];
  },
};

export const heartbeats: Measure[] = [
  overEvents('heartbeat, no type matches', 0, false),
  overEvents('heartbeat, 50 patterns with a condition, 1 % fires', 0.01),
  overEvents('heartbeat, all fire to missions', 1),
  idle,
];
