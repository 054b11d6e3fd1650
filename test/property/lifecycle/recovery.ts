/** Workers die, and anybody recovers what they held. */
import { demand, nothing } from './action.js';
import type { Effect, Model } from './model.js';
import { ms, type Snapshot, type StepRow } from './rows.js';
import { verdictsFollowed } from './verdict.js';
import type { World } from './world.js';

export const minuteMs = 60_000;
/** How far the clock may lie behind its latest reading: a correction by NTP, not a wrong date. */
export const maxStepBackMs = 4_000;

export async function move(world: World, model: Model, by: number): Promise<void> {
  await world.advance(by);
  model.latest = Math.max(model.latest, world.now);
}

export const running = (snapshot: Snapshot): StepRow[] =>
  snapshot.tables.steps.filter((s) => s.status === 'running');

export async function recoverExpired({ port, now }: World, { last }: Model): Promise<Effect> {
  const expired = running(last).filter((step) => ms(step.lease_expires_at) < now);
  const said = await port.recoverExpiredLeases();
  const count = said.requeued_steps + said.failed_steps;
  demand(count === expired.length, `${count} leases were recovered, ${expired.length} had run out`);
  const endings = expired.map(({ id }) => ({ step: id, outcome: 'crashed' }));
  return {
    quiet: expired.length === 0,
    recovers: true,
    check: (after) => verdictsFollowed(last, after, endings, now),
  };
}

/**
 * A worker that was killed forgets what it held, one that was frozen does not: it will write with leases that it has
 * lost. If its silence is noticed, the leases have run out and are recovered.
 */
export async function losesWorker(
  world: World,
  model: Model,
  worker: string,
  { noticed, frozen }: { noticed: boolean; frozen: boolean },
): Promise<Effect> {
  if (!frozen) model.memory.set(worker, []);
  if (!noticed) return nothing;
  await move(world, model, 61_000);
  return recoverExpired(world, model);
}
