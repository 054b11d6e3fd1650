/** Months pass, and finished rows are archived under whatever retention. */
import fc from 'fast-check';
import type { OpsPort } from '../../../../supabase/client/port.js';
import { action, demand, nothing } from '../action.js';
import type { Effect } from '../model.js';
import { move } from '../recovery.js';
import { ms, type Retention, type Snapshot } from '../rows.js';
import { cutoff, isAskedFor } from '../rules/archive.js';

const dayMs = 86_400_000;

const age = action(2, fc.constantFrom(2 * dayMs, 3 * dayMs, 91 * dayMs), async (world, model, by) => {
  await move(world, model, by);
  return nothing;
});

/** Rows by table over a whole walk. */
async function walk(
  port: OpsPort,
  args: { limit: number; dryRun: boolean },
): Promise<Record<string, number>> {
  const sums: Record<string, number> = {};
  for (let cursor: number | null = 0; cursor !== null; ) {
    const answer: Awaited<ReturnType<OpsPort['archive']>> = await port.archive({ ...args, cursor });
    for (const [table, n] of Object.entries(answer.tables)) sums[table] = (sums[table] ?? 0) + n;
    cursor = answer.cursor;
  }
  return sums;
}

/** The policy is there for this command only: what beats archive by themselves depends on the machine's speed. */
const archive = action(
  3,
  fc.record({
    days: fc.constantFrom(1, 2, 90),
    but: fc.constantFrom(null, 'events_days', 'missions_days', 'runs_days', 'dead_letters_days'),
    limit: fc.constantFrom(1, 4, 5_000),
  }),
  async ({ port, setPolicy, sql, now }, { last }, { days, but, limit }): Promise<Effect> => {
    const retention: Retention = { days, ...(but === null ? {} : { [but]: 400 }) };
    await setPolicy('retention', { ...retention });
    const told = JSON.stringify(await walk(port, { limit, dryRun: true }));
    const done = JSON.stringify(await walk(port, { limit, dryRun: false }));
    await sql("delete from ops_policy where key = 'retention'");
    demand(done === told, `a dry run said ${told}, archived were ${done}`);
    return {
      quiet: done === '{}',
      archives: retention,
      check: (after) => nothingIsLeft(last, after, retention, now),
    };
  },
);

/** What is finished for long enough, and asked for by nothing, is gone. */
function* nothingIsLeft(
  before: Snapshot,
  after: Snapshot,
  retention: Retention,
  now: number,
): Iterable<string> {
  for (const { id, completed_at } of after.tables.missions)
    if (ms(completed_at) < cutoff(retention, 'missions_days', now) && !isAskedFor(before, id))
      yield `mission ${id}, completed ${completed_at}, was left`;
  const reacted = new Set(after.tables.reactions.map(({ event_id }) => event_id));
  for (const { id, type, processed_at } of after.tables.events)
    if (ms(processed_at) < cutoff(retention, 'events_days', now) && !reacted.has(id))
      yield `event ${type} ${id}, closed ${processed_at}, was left`;
}

export const archiveActions = { age, archive };
