/** What a client of a race does with the leases it has, and what it is told. */
import fc from 'fast-check';
import type { OpsPort } from '../../../supabase/client/port.js';
import type { Lease } from '../lifecycle/model.js';
import type { World } from '../lifecycle/world.js';
import { type Ledger, resultOf } from './ledger.js';

export type Move =
  | 'complete'
  | 'fail'
  | 'failForGood'
  | 'renew'
  | 'release'
  | 'claim'
  | 'recover'
  | 'beat'
  | 'sweep'
  | 'cancel';

export const writeBacks: Move[] = ['complete', 'fail', 'failForGood', 'renew', 'release'];
export const anyMove: fc.Arbitrary<Move> = fc.constantFrom(
  ...writeBacks,
  ...writeBacks,
  'claim',
  'recover',
  'recover',
  'beat',
  'sweep',
  'cancel',
);

/** Longer than any race moves the clock: whoever was told that it was renewed can't lose the lease in it. */
const renewalSeconds = 7200;

type Answer = { step_id: string; held: boolean; lease_epoch?: number };
export type Told = (ledger: Ledger) => Lease[];

const ref = ({ step, epoch }: Lease) => ({ step_id: step, lease_epoch: epoch });
const none: Told = () => [];

/**
 * Makes a move and answers what to write into the ledger once it is certain: at once, or after the commit. That
 * answers the leases that were taken.
 */
export async function make(
  move: Move,
  port: OpsPort,
  worker: string,
  leases: Lease[],
  { world, leaseSeconds = 60 }: { world: World; leaseSeconds?: number },
): Promise<Told> {
  const told =
    (what: Parameters<Ledger['told']>[2], rows: Answer[]): Told =>
    (ledger) => {
      for (const row of rows) {
        // A renewal answers no epoch; `renew` sends one lease of a step at most.
        const lease = leases.findLast(
          ({ step, epoch }) => step === row.step_id && (row.lease_epoch ?? epoch) === epoch,
        );
        if (lease !== undefined) ledger.told(lease, row.held, what);
      }
      return [];
    };
  const failures = (outcome: 'retryable' | 'permanent') =>
    leases.map((lease) => ({ ...ref(lease), outcome, error: 'lost the race' }));
  switch (move) {
    case 'complete': {
      const results = leases.map((lease) => ({ ...ref(lease), result: resultOf(lease) }));
      return told('succeeded', await port.completeSteps({ worker, results }));
    }
    case 'fail':
      return told('failed', await port.failSteps({ worker, failures: failures('retryable') }));
    case 'failForGood':
      return told('failed', await port.failSteps({ worker, failures: failures('permanent') }));
    case 'renew': {
      const latest = leases.filter(
        (lease, i) => leases.findLastIndex(({ step }) => step === lease.step) === i,
      );
      const rows = await port.renewLeases({ worker, leases: latest.map(ref), leaseSeconds: renewalSeconds });
      return told('renewed', rows);
    }
    case 'release':
      return told('released', await port.releaseSteps({ worker, leases: leases.map(ref) }));
    case 'claim': {
      const { now } = world;
      const rows = await port.claimSteps({ worker, executors: ['noop'], limit: 3, leaseSeconds });
      return (ledger) => ledger.claimed(worker, rows, now);
    }
    case 'recover':
      await port.recoverExpiredLeases();
      return none;
    case 'sweep':
      await port.recoverStaleSteps({ minutes: 0 });
      return none;
    case 'beat':
      await beat(port);
      return none;
    case 'cancel':
      await cancel(world, port, leases);
      return none;
  }
}

async function beat(port: OpsPort): Promise<void> {
  const { failures } = await port.heartbeat({ source: 'reactive' });
  if (failures.length > 0) throw new Error(`phases failed: ${JSON.stringify(failures)}`);
}

async function cancel({ sql }: World, port: OpsPort, [lease]: Lease[]): Promise<void> {
  const mission = 'select mission_id from ops_mission_steps where id = $1';
  const rows = lease === undefined ? [] : await sql(mission, [lease.step]);
  for (const { mission_id } of rows) await port.cancelMission({ id: String(mission_id) });
}
