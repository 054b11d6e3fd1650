/**
 * The whole life cycle on real PostgreSQL: fast-check draws programs of commands, after each of them the rules hold,
 * and after each program everything drains and `ops_check_invariants()` answers no row.
 *
 * `OPS_PROPERTY_RUNS=1000` makes a long run of programs of up to 50 commands; `OPS_PROPERTY_SEED`, `_PATH` and
 * `_REPLAY` repeat one, as printed.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { Reached } from './lifecycle/reached.js';
import { regressions } from './lifecycle/regressions.js';
import { runProgram, runPrograms } from './lifecycle/run.js';
import { openWorld, type World } from './lifecycle/world.js';

const db = useDatabase();
let world: World;
beforeAll(async () => {
  world = await openWorld(db);
});
afterAll(() => world.close());
const { OPS_PROPERTY_RUNS, OPS_PROPERTY_SEED, OPS_PROPERTY_PATH, OPS_PROPERTY_REPLAY } = process.env;
const long = OPS_PROPERTY_RUNS !== undefined;
const runs = Number(OPS_PROPERTY_RUNS ?? 30);
/** The suite says the same of the same code every time; long runs draw anew. */
const seed = long && OPS_PROPERTY_SEED === undefined ? undefined : Number(OPS_PROPERTY_SEED ?? 1120);

test.each(regressions.map(({ name, program }) => [name, program] as const))(
  'once failed: %s',
  async (_name, program) => {
    await runProgram(world, program);
  },
);

test('whatever workers, operators, senders and clocks do, the rules hold and everything drains', {
  timeout: long ? runs * 10_000 : 180_000,
}, async () => {
  const reached = new Reached();
  const {
    failed,
    report,
    runs: done,
  } = await runPrograms(world, {
    runs,
    reached,
    ...(long ? {} : { timeLimitMs: 60_000 }),
    maxCommands: long ? 100 : 70,
    seed,
    path: OPS_PROPERTY_PATH,
    replayPath: OPS_PROPERTY_REPLAY,
  });
  expect(failed ? report : 'no violation').toBe('no violation');
  // A replay, or a machine too slow for all of them in the time.
  if (OPS_PROPERTY_PATH !== undefined || done < runs) return;
  expect(missing(reached), 'what the programs never came to').toEqual([]);
});

/** A suite whose commands do nothing any more would pass: this much thirty programs always come to. */
function missing({ counts }: Reached): string[] {
  const due = [
    ...[
      'attempt succeeded',
      'attempt failed',
      'attempt crashed',
      'step succeeded',
      'step cancelled',
      'step revived',
    ],
    ...[
      'mission succeeded',
      'proposal approved',
      'proposal auto_approved',
      'proposal pending',
      'proposal rejected',
    ],
    ...[
      'event fired',
      'event unmatched',
      'renew',
      'claim',
      'decide',
      'beat',
      'stale refused or idle',
      'archive',
    ],
  ];
  return due.filter((what) => !counts.has(what));
}
