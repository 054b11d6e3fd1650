/** What happens on the way between clients and PostgreSQL. */
import { setTimeout as pause } from 'node:timers/promises';
import { databaseBoundMs, type Fault } from '../fault.js';
import type { Cut, Weather } from '../proxy.js';

const bad = (
  name: string,
  what: string,
  weather: (roll: (least: number, most: number) => number) => Weather,
  leastMs: number,
  mostMs: number,
): Fault => ({
  name,
  what,
  boundMs: databaseBoundMs,
  strike: async ({ proxy }, dice) => {
    proxy.setWeather(weather(dice.whole));
    await pause(dice.whole(leastMs, mostMs));
    proxy.setWeather({ kind: 'fair' });
    return undefined;
  },
});

const cutting = (name: string, what: string, ways: Cut[]): Fault => ({
  name,
  what,
  boundMs: databaseBoundMs,
  strike: async ({ proxy }, dice) => {
    for (let round = 0; round < 3; round++) {
      proxy.cut(dice.pick(ways), () => dice.chance(0.6));
      await pause(dice.whole(50, 700));
    }
    return undefined;
  },
});

const lostAnswers: Fault = {
  name: 'lost-answers',
  what: 'requests pass and answers do not, for up to 1.5 s; then all connections are reset',
  boundMs: databaseBoundMs,
  strike: async ({ proxy }, dice) => {
    proxy.setWeather({ kind: 'mute' });
    await pause(dice.whole(300, 1_500));
    proxy.cut('reset');
    proxy.setWeather({ kind: 'fair' });
    return undefined;
  },
};

export const networkFaults = [
  bad(
    'delay',
    'every chunk 50 to 400 ms late, for 3 to 5 s',
    (roll) => ({ kind: 'delay', ms: roll(50, 400) }),
    3_000,
    5_000,
  ),
  bad(
    'silence',
    'nothing passes for 2 to 15 s; connections stay open',
    () => ({ kind: 'silence' }),
    2_000,
    15_000,
  ),
  bad(
    'long-silence',
    'the same for 30 to 60 s: past every deadline and every lease',
    () => ({ kind: 'silence' }),
    30_000,
    60_000,
  ),
  bad(
    'slice',
    'chunks in pieces of 1 to 64 bytes, for 3 to 5 s',
    (roll) => ({ kind: 'slice', bytes: roll(1, 64) }),
    3_000,
    5_000,
  ),
  cutting('reset', 'half the connections reset, three times', ['reset']),
  lostAnswers,
  cutting('half-close', 'one side of connections closed, or gone without a word', [
    'end-to-client',
    'end-to-server',
    'vanish',
  ]),
];
