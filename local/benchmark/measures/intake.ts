/** One by one, each acknowledged before the next is sent: what a caller waits for. */
import { type Figure, median, perSecond } from '../figure.js';
import { mark, openGates, type Room } from '../room.js';
import type { Measure } from './measure.js';

async function oneByOne(
  name: string,
  unit: string,
  count: number,
  send: (i: number) => Promise<unknown>,
): Promise<Figure[]> {
  const times: number[] = [];
  const started = performance.now();
  for (let i = 0; i < count; i++) {
    const sent = performance.now();
    await send(i);
    times.push(performance.now() - sent);
  }
  return [
    { name, value: perSecond(count, performance.now() - started), unit },
    { name: `${name}, p50`, value: median(times), unit: 'ms' },
  ];
}

export const intake: Measure = {
  name: 'single emit and propose',
  async run({ database, sizes: { singles } }: Room) {
    const { port } = database;
    await openGates(database);
    const template = { title: mark, steps: [{ kind: 'noop', params: { echo: 1 } }] };
    return [
      ...(await oneByOne('single emit', 'events/s', singles, (i) =>
        port.emitEvent({ type: `${mark}:single`, data: { i } }),
      )),
      ...(await oneByOne('single propose', 'proposals/s', singles, () => port.createProposal({ template }))),
    ];
  },
};
