/** After the faults: policies open, switches run, workers work. Then everything must come to an end by itself. */
import { demand } from './action.js';
import { type Attempt, executors, type Model } from './model.js';
import { holdToTheRules } from './rules/rules.js';
import { isOpen, runId } from './snapshot.js';
import { openPolicies, type World } from './world.js';

/** Rounds of beat, claim and complete. Each lets every step that is ready end, so chains and retries fit in easily. */
const maxRounds = 60;
const minuteMs = 60_000;

async function step(
  world: World,
  model: Model,
  command: string,
  act: () => Promise<Attempt[]>,
): Promise<boolean> {
  const { now } = world;
  const before = model.last;
  const claimed = await act();
  const after = await world.read();
  const ended = new Map(
    claimed.filter((a) => a.told === 'succeeded').map((a) => [runId(a.step, a.epoch), a.told]),
  );
  const effect =
    claimed.length === 0
      ? { beats: true, recovers: true, claimed }
      : { ended, claimed: claimed.filter((a) => a.told === 'started') };
  holdToTheRules({ before, after, effect, model, now }, command);
  model.last = after;
  return claimed.length > 0;
}

async function claimAll({ port, now }: World, model: Model): Promise<Attempt[]> {
  const rows = await port.claimSteps({ worker: 'healer', executors: [...executors], limit: 100 });
  return rows.map(({ id, lease_epoch: epoch, executor }) => {
    const series = model.last.steps.get(id)?.series ?? 0;
    const attempt: Attempt = {
      step: id,
      epoch,
      executor,
      worker: 'healer',
      claimedAt: now,
      told: 'started',
      series,
      rated: false,
    };
    model.attempts.set(runId(id, epoch), attempt);
    return attempt;
  });
}

async function completeAll({ port }: World, attempts: Attempt[]): Promise<Attempt[]> {
  const results = attempts.map((a) => ({ step_id: a.step, lease_epoch: a.epoch, result: { v: 5 } }));
  for (const row of await port.completeSteps({ worker: 'healer', results }))
    demand(row.held, `completion of ${row.step_id} was refused, nobody else had it`);
  for (const attempt of attempts) attempt.told = 'succeeded';
  return attempts;
}

async function beatOut({ port }: World): Promise<Attempt[]> {
  for (let rounds = 0; ; rounds++) {
    const round = await port.heartbeat({ source: 'reactive' });
    demand(round.failures.length === 0, `phases failed: ${JSON.stringify(round.failures)}`);
    if (!round.more) return [];
    demand(rounds < 50, 'a beat does not come to an end');
  }
}

/** Heals the world, lets it drain, and says what is stuck if anything is. */
export async function healAndDrain(world: World, model: Model): Promise<void> {
  for (const [key, value] of Object.entries(openPolicies)) await world.setPolicy(key, value);
  await world.sql("delete from ops_policy where key in ('switches', 'loop_limits', 'approvals')");
  model.last = await world.read();
  for (let round = 0; round < maxRounds; round++) {
    let worked = false;
    await step(world, model, 'the last beats', () => beatOut(world));
    let claimed: Attempt[] = [];
    worked = await step(world, model, 'the last claims', async () => {
      claimed = await claimAll(world, model);
      return claimed;
    });
    if (worked) await step(world, model, 'the last completions', () => completeAll(world, claimed));
    if (!worked && leftovers(model).length === 0) return;
    if (!worked) await world.advance(16 * minuteMs);
  }
  throw new Error(
    `after ${maxRounds} rounds of a healthy loop:\n  ${leftovers(model).slice(0, 8).join('\n  ')}`,
  );
}

function leftovers({ last }: Model): string[] {
  const { events, reactions, proposals, steps } = last.tables;
  return [
    ...events.filter((e) => e.processed_at === null).map((e) => `event ${e.type} ${e.id} is open`),
    ...reactions.filter((r) => r.status !== 'done').map((r) => `reaction ${r.id} is ${r.status}`),
    ...proposals
      .filter((p) => p.status === 'pending' && p.gated_at === null)
      .map((p) => `proposal ${p.id} is not gated: ${p.reason}`),
    ...steps
      .filter(isOpen)
      .map((s) => `step ${s.key} of ${s.mission_id} is ${s.status} (${s.wait_reason ?? s.ready_at})`),
  ];
}
