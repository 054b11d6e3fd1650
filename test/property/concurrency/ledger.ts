/**
 * What the clients of a race were told, kept outside of the database. Afterwards every attempt must be what its
 * worker was told it is: nothing lost, nothing invented, no write of a worker that had lost its lease.
 */
import { type Attempt, emptyModel, type Lease, type Model } from '../lifecycle/model.js';
import type { AttemptStatus, Snapshot } from '../lifecycle/rows.js';
import { runId } from '../lifecycle/snapshot.js';
import type { World } from '../lifecycle/world.js';

type Entry = Attempt & { acknowledged: Set<AttemptStatus>; renewed: boolean };

export class Ledger {
  /** Write-backs that were refused because the lease was lost. */
  stale = 0;
  /** Write-backs and renewals that were accepted. */
  held = 0;
  readonly #entries = new Map<string, Entry>();
  readonly #wrong: string[] = [];

  claimed(
    worker: string,
    rows: { id: string; lease_epoch: number; executor: string }[],
    claimedAt: number,
  ): Lease[] {
    return rows.map(({ id: step, lease_epoch: epoch, executor }) => {
      const run = runId(step, epoch);
      if (this.#entries.has(run)) this.#wrong.push(`attempt ${run} was given out twice`);
      const attempt: Attempt = {
        step,
        epoch,
        executor,
        worker,
        claimedAt,
        series: 1,
        rated: false,
        told: 'started',
      };
      this.#entries.set(run, { ...attempt, acknowledged: new Set(), renewed: false });
      return { step, epoch };
    });
  }

  /** Takes back a claim whose transaction was rolled back. */
  unclaimed(leases: Lease[]): void {
    for (const { step, epoch } of leases) this.#entries.delete(runId(step, epoch));
  }

  told(lease: Lease, held: boolean, what: AttemptStatus | 'renewed'): void {
    if (!held) {
      this.stale += 1;
      return;
    }
    this.held += 1;
    const entry = this.#entries.get(runId(lease.step, lease.epoch));
    if (entry === undefined) this.#wrong.push(`${what} of ${lease.step} at an epoch that nobody was given`);
    else if (what === 'renewed') entry.renewed = true;
    else entry.acknowledged.add(what);
  }

  /** The model of the world after the race. Throws when an answer and a row contradict each other. */
  settle(world: World, after: Snapshot): Model {
    const model = emptyModel(after, world.now);
    for (const [run, { acknowledged, renewed, ...attempt }] of this.#entries) {
      const row = after.attempts.get(run);
      const [told, ...more] = acknowledged;
      if (more.length > 0) this.#wrong.push(`attempt ${run} was told ${[...acknowledged].join(' and ')}`);
      const taken = row?.status === 'crashed' || row?.status === 'timed_out';
      if (taken && told === undefined && renewed)
        this.#wrong.push(`attempt ${run} was renewed and then taken`);
      if (told === 'succeeded' && by(after, attempt) !== run)
        this.#wrong.push(`result of ${run} is ${by(after, attempt)}'s`);
      model.attempts.set(run, { ...attempt, told: told ?? (taken ? row.status : 'started') });
    }
    if (this.#wrong.length > 0) throw new Error(this.#wrong.slice(0, 8).join('\n'));
    return model;
  }
}

/** Results name the attempt that wrote them. */
export const resultOf = ({ step, epoch }: Lease) => ({ by: runId(step, epoch) });

function by(after: Snapshot, { step }: Lease): string {
  const { result } = after.steps.get(step) ?? {};
  return typeof result === 'object' && result !== null && 'by' in result ? String(result.by) : 'nobody';
}
