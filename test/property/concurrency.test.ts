/**
 * Races on real connections. Meetings stop one call in the middle of its transaction; storms let workers loose. A
 * ledger outside of the database knows what each was told, and afterwards the rows must say the same.
 *
 * `OPS_PROPERTY_RUNS` scales both up; `OPS_PROPERTY_SEED` and `_PATH` repeat one, as printed.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { playRace, races } from './concurrency/counters.js';
import { crossings, meeting, playMeeting } from './concurrency/pairs.js';
import { openSession, openSessions, type Session } from './concurrency/sessions.js';
import { playStorm, storm } from './concurrency/storm.js';
import { openWorld, type World } from './lifecycle/world.js';

const db = useDatabase();
const { OPS_PROPERTY_RUNS, OPS_PROPERTY_SEED, OPS_PROPERTY_PATH } = process.env;
/** How much longer than in the suite: 1,000 programs beside our 30 are 33 times as much of everything. */
const factor = OPS_PROPERTY_RUNS === undefined ? 1 : Number(OPS_PROPERTY_RUNS) / 30;
const replay = {
  // The suite draws the same programs every time, though not the same races; long runs draw anew.
  ...(OPS_PROPERTY_RUNS !== undefined && OPS_PROPERTY_SEED === undefined
    ? {}
    : { seed: Number(OPS_PROPERTY_SEED ?? 1120) }),
  ...(OPS_PROPERTY_PATH === undefined ? {} : { path: OPS_PROPERTY_PATH }),
};
const timeout = 120_000 * Math.max(factor, 1);
const workers = 6;

let world: World;
beforeAll(async () => {
  world = await openWorld(db);
});
afterAll(() => world.close());

let pair: [Session, Session];
let crew: Session[];
beforeAll(async () => {
  pair = [await openSession(db), await openSession(db)];
  crew = await openSessions(db, workers);
});

describe('bounds, with six at once', () => {
  test.each(Object.entries(races))('%s', { timeout }, async (_name, race) => {
    for (let round = 0; round < 3 * factor; round++) await playRace(world, crew, race);
  });
});

describe('leases', () => {
  test.each(crossings.map((m) => [m.first, m.second, m.late ? 'after the lease' : 'in time', m] as const))(
    '%s, not committed yet, meets %s %s',
    async (_first, _second, _when, m) => {
      await playMeeting(world, pair, m);
    },
  );

  test('whichever two calls meet on a step, each is told the truth', { timeout }, async () => {
    let stale = 0;
    const numRuns = Math.round(60 * factor);
    await fc.assert(
      fc.asyncProperty(meeting, async (m) => {
        stale += await playMeeting(world, pair, m);
      }),
      { numRuns, ...replay },
    );
    expect(stale, 'write-backs refused').toBeGreaterThan(numRuns / 20);
  });

  test('six workers with leases of milliseconds write nothing stale and nothing twice', {
    timeout,
  }, async () => {
    const total = { stale: 0, held: 0 };
    const numRuns = Math.round(10 * factor);
    await fc.assert(
      fc.asyncProperty(fc.noBias(storm(workers, 12)), async (weather) => {
        const { stale, held } = await playStorm(world, crew, weather);
        total.stale += stale;
        total.held += held;
      }),
      // A race does not repeat exactly, so a smaller one proves little.
      { numRuns, endOnFailure: true, ...replay },
    );
    expect(total.stale, 'write-backs refused').toBeGreaterThan(numRuns);
    expect(total.held, 'write-backs accepted').toBeGreaterThan(numRuns);
  });
});
