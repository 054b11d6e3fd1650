/** Several workers at once on the same few steps, with leases of milliseconds, by the real clock. */
import fc from 'fast-check';
import type { Lease } from '../lifecycle/model.js';
import type { World } from '../lifecycle/world.js';
import { Ledger } from './ledger.js';
import { anyMove, type Move, make } from './moves.js';
import { settle } from './pairs.js';
import type { Session } from './sessions.js';

/** What each worker does, one after the other: a move and which of the leases it ever had. */
export type Storm = { worker: { move: Move; lease: number; leaseMs: number }[] }[];

const move = fc.record({ move: anyMove, lease: fc.nat(20), leaseMs: fc.constantFrom(1, 5, 50, 1000) });
export const storm = (workers: number, moves: number): fc.Arbitrary<Storm> =>
  fc.array(fc.record({ worker: fc.array(move, { minLength: moves, maxLength: moves }) }), {
    minLength: workers,
    maxLength: workers,
  });

const steps = ['a', 'b', 'c', 'd'].map((key) => ({ key, kind: 'noop', depends_on: [], max_retries: 100 }));
const last = { key: 'e', kind: 'noop', depends_on: ['a', 'b'], max_retries: 100 };

export type Weather = { stale: number; held: number };

export async function playStorm(world: World, sessions: Session[], storm: Storm): Promise<Weather> {
  await world.reset();
  await world.setPolicy('worker_policy', { backoff: { base_seconds: 0.001, cap_seconds: 0.001 } });
  for (const title of ['one', 'two'])
    await world.port.createProposal({ template: { title, steps: [...steps, last] } });
  const ledger = new Ledger();
  await world.run(true);
  try {
    await Promise.all(storm.map(({ worker }, i) => act(world, ledger, sessions[i], `w${i}`, worker)));
  } finally {
    await world.run(false);
  }
  await settle(world, ledger, []);
  return { stale: ledger.stale, held: ledger.held };
}

async function act(
  world: World,
  ledger: Ledger,
  session: Session | undefined,
  name: string,
  moves: Storm[number]['worker'],
): Promise<void> {
  if (session === undefined) throw new Error(`no session for ${name}`);
  const known: Lease[] = [];
  for (const { move, lease, leaseMs } of moves) {
    // Any lease it ever had, the latest first: most of them are lost by now.
    const chosen = known.slice(-1 - (lease % Math.max(known.length, 1))).slice(0, 2);
    const wanted = chosen.length === 0 && move !== 'beat' ? 'claim' : move;
    const told = await make(wanted, session.port, name, chosen, { world, leaseSeconds: leaseMs / 1000 });
    known.push(...told(ledger));
  }
}
