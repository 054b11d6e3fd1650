/**
 * Two calls that meet: the first has done its work and not committed, the clock may move, the second runs into it
 * or past it, then the first commits or rolls back. Every pair of moves on live, lost and expired leases.
 */
import fc from 'fast-check';
import { healAndDrain } from '../lifecycle/heal.js';
import type { Lease } from '../lifecycle/model.js';
import { holdToTheRules } from '../lifecycle/rules/rules.js';
import type { World } from '../lifecycle/world.js';
import { Ledger } from './ledger.js';
import { anyMove, type Move, make, type Told, writeBacks } from './moves.js';
import { endedOrBlocked, type Session } from './sessions.js';

export type Meeting = {
  /** What became of the first worker's leases before: still good, run out, or taken by another. */
  leases: 'live' | 'expired' | 'lost';
  first: Move;
  second: Move;
  /** Who moves: the first worker, whose leases may be lost, or the one that has them now. */
  by: [0 | 1, 0 | 1];
  /** Both act on one step or on all. */
  steps: 1 | 2;
  /** The leases run out between the two calls. */
  late: boolean;
  commits: boolean;
};

const who = fc.constantFrom(0 as const, 1 as const);
export const meeting: fc.Arbitrary<Meeting> = fc.record({
  leases: fc.constantFrom('live', 'expired', 'lost'),
  first: anyMove,
  second: anyMove,
  by: fc.tuple(who, who),
  steps: fc.constantFrom(1, 2),
  late: fc.boolean(),
  commits: fc.constantFrom(true, true, true, false),
});

/** A write-back and a recovery that cross, either first: the ones that decide who owns the step. */
const recoveries: Move[] = ['recover', 'sweep', 'beat', 'cancel'];
export const crossings: Meeting[] = writeBacks.flatMap((first) =>
  recoveries.flatMap((second) =>
    [true, false].flatMap((late) => [
      { leases: 'live', first, second, by: [0, 0], steps: 1, late, commits: true } satisfies Meeting,
      {
        leases: 'expired',
        first: second,
        second: first,
        by: [0, 0],
        steps: 1,
        late,
        commits: true,
      } satisfies Meeting,
    ]),
  ),
);

const template = {
  title: 'a meeting',
  steps: [
    { key: 'a', kind: 'noop', depends_on: [] },
    { key: 'b', kind: 'noop', depends_on: [] },
    { key: 'c', kind: 'noop', depends_on: ['a', 'b'] },
  ],
};

const pastLeaseMs = 61_000;

/** Plays one meeting; throws on the first thing that must not be. Answers how many stale writes were refused. */
export async function playMeeting(world: World, [one, two]: [Session, Session], m: Meeting): Promise<number> {
  await world.reset();
  const ledger = new Ledger();
  const leases = await prepare(world, ledger, m);
  const held = (by: 0 | 1) => leases[by].slice(0, m.steps);
  await one.client.query('begin');
  const first = await make(m.first, one.port, `w${m.by[0]}`, held(m.by[0]), { world });
  if (m.late) await world.advance(pastLeaseMs);
  const second = make(m.second, two.port, `w${m.by[1]}`, held(m.by[1]), { world });
  second.catch(() => {});
  await endedOrBlocked(world, two, second);
  await one.client.query(m.commits ? 'commit' : 'rollback');
  await settle(world, ledger, m.commits ? [first, await second] : [await second]);
  return ledger.stale;
}

async function prepare(world: World, ledger: Ledger, { leases }: Meeting): Promise<[Lease[], Lease[]]> {
  const { port } = world;
  await port.createProposal({ template });
  const claim = async (worker: string) =>
    ledger.claimed(worker, await port.claimSteps({ worker, executors: ['noop'], limit: 2 }), world.now);
  const mine = await claim('w0');
  if (leases !== 'live') await world.advance(pastLeaseMs);
  if (leases !== 'lost') return [mine, mine];
  await port.recoverExpiredLeases();
  const theirs = await claim('w1');
  return [mine, mine.flatMap(({ step }) => theirs.filter((lease) => lease.step === step))];
}

/** Writes down what both were told, holds the database to it, and lets everything drain. */
export async function settle(world: World, ledger: Ledger, told: Told[]): Promise<void> {
  for (const write of told) write(ledger);
  const after = await world.read();
  const model = ledger.settle(world, after);
  holdToTheRules({ before: after, after, effect: {}, model, now: world.now }, 'the race');
  await healAndDrain(world, model);
}
