/** The end of a drill: everything is set right, what is open must end, and then all books are compared. */
import { join } from 'node:path';
import { until } from '../support/until.js';
import type { Arena } from './arena.js';
import { checkEffects, type EffectVerdict, readEffects, type Success } from './effects.js';
import { check, type Kind, type Verdict } from './ledger.js';

export type Judgement = {
  events: Verdict;
  proposals: Verdict;
  effects: EffectVerdict;
  steps: Record<string, number>;
  deadLetters: Record<string, number>;
  drainedInMs: number | undefined;
  violations: string[];
};

export type Drained = { drainedInMs: number | undefined; left: string };

const drainMs = 120_000;

const openWork = `
  select (select count(*) from ops_agent_events where processed_at is null)::int as open_events,
    (select count(*) from ops_agent_reactions where status in ('queued', 'processing'))::int as queued_reactions,
    (select count(*) from ops_mission_proposals where status in ('pending', 'voting'))::int as waiting_proposals,
    (select count(*) from ops_missions where completed_at is null)::int as open_missions,
    (select count(*) from ops_step_dead_letters where state = 'open' and executor = 'drill')::int as dead_letters`;

/**
 * Waits until nothing is open, doing what an operator would: steps that died because their worker was killed three
 * times are requeued, and proposals that came while auto-approval was off are approved.
 */
export async function drain(arena: Arena): Promise<Drained> {
  const start = performance.now();
  let left: Record<string, number> = {};
  const look = async () => {
    [left = {}] = await arena.ask<Record<string, number>>(openWork);
    await tidyUp(arena, left).catch(() => {});
    return Object.values(left).every((n) => n === 0);
  };
  try {
    await until(look, { what: 'everything ends', deadlineMs: drainMs });
    return { drainedInMs: Math.round(performance.now() - start), left: '' };
  } catch {
    return { drainedInMs: undefined, left: JSON.stringify(left) };
  }
}

async function tidyUp({ client }: Arena, left: Record<string, number>): Promise<void> {
  const { port } = client;
  if ((left.dead_letters ?? 0) > 0)
    await port.requeueDeadLetters({ filter: { executor: 'drill' }, reason: 'the drill is over' });
  if ((left.waiting_proposals ?? 0) === 0) return;
  for (const { id } of await port.listProposals({ status: 'pending', limit: 50 }))
    await port.approveProposal({ id, actor: 'drill', reason: 'the drill is over' });
}

export async function judge(arena: Arena, drained: Drained): Promise<Judgement> {
  const { ledger, crew, home } = arena;
  const callsOf = (kind: Kind) => ledger.calls.filter((call) => call.kind === kind);
  const events = check(callsOf('event'), await keysOf(arena, sentEvents));
  const proposals = check(callsOf('proposal'), await keysOf(arena, sentProposals));
  const effects = await judgeEffects(arena, join(home, 'effects'));
  const violations = [
    ...(drained.drainedInMs === undefined
      ? [`not drained within ${drainMs / 1_000} s: ${drained.left}`]
      : []),
    ...complain(events, 'events'),
    ...complain(proposals, 'proposals'),
    ...list(effects.withoutEffect, 'steps succeeded without an effect'),
    ...list(effects.invented, 'effects have no step'),
    ...list(
      effects.forbidden.map(({ key }) => key),
      'effects of a non-idempotent executor were repeated',
    ),
    ...(await invariants(arena)),
    ...(await promises(arena)),
    ...(await leaks(arena)),
    ...crew.strange,
  ];
  return {
    ...{ events, proposals, effects, violations, drainedInMs: drained.drainedInMs },
    steps: await counts(
      arena,
      'select status as what, count(*)::int as n from ops_mission_steps group by 1 order by 1',
    ),
    deadLetters: await counts(
      arena,
      "select executor || ' ' || cause as what, count(*)::int as n from ops_step_dead_letters group by 1 order by 1",
    ),
  };
}

/** What came from clients: the loop's own events and the proposals of reactions have keys of their own. */
const sentEvents =
  "select dedupe_key as key from ops_agent_events where dedupe_key is not null and trust <> 'loop'";
const sentProposals =
  'select dedupe_key as key from ops_mission_proposals where dedupe_key is not null and event_id is null';

const keysOf = async ({ ask }: Arena, text: string): Promise<string[]> =>
  (await ask<{ key: string }>(text)).map(({ key }) => key);

const list = (keys: string[], what: string): string[] =>
  keys.length === 0 ? [] : [`${keys.length} ${what}: ${keys.slice(0, 5).join(', ')}`];

const complain = ({ lost, invented, duplicated }: Verdict, what: string): string[] => [
  ...list(lost, `acknowledged ${what} are lost`),
  ...list(invented, `${what} are invented`),
  ...list(duplicated, `${what} were made twice`),
];

async function judgeEffects({ ask }: Arena, file: string): Promise<EffectVerdict> {
  const known = await ask<{ id: string }>('select id from ops_mission_steps');
  const successes = await ask<Success>(
    `select id as key, result ->> 'token' as token from ops_mission_steps
     where status = 'succeeded' and executor in ('drill', 'drill_once')`,
  );
  return checkEffects(
    readEffects(file),
    new Set(known.map(({ id }) => id)),
    successes,
    (executor) => executor === 'drill_once',
  );
}

async function invariants({ ask }: Arena): Promise<string[]> {
  const rows = await ask<{ invariant: string; entity: string; id: string; detail: unknown }>(
    'select * from ops_check_invariants()',
  );
  return rows.map(
    ({ invariant, entity, id, detail }) =>
      `invariant ${invariant}: ${entity} ${id} ${JSON.stringify(detail)}`,
  );
}

/** What the drill knows of its own load, beyond the engine's invariants. */
async function promises({ ask }: Arena): Promise<string[]> {
  const rows = await ask<{ problem: string }>(`
    select format('event %s of type %s ended as %s: %s', e.dedupe_key, e.type, e.outcome, e.last_error) as problem
    from ops_agent_events e where e.type in ('drill:work', 'drill:huge', 'drill:probe') and e.outcome is distinct from 'fired'
      and not exists (select from ops_event_decisions d where d.event_id = e.id and d.clause in ('switch', 'render'))
    union all
    select format('event %s fired and has no mission: reaction %s (%s), proposal %s (%s)', e.dedupe_key, r.status, r.last_error, p.status, p.reason)
    from ops_agent_events e left join ops_agent_reactions r on r.event_id = e.id left join ops_mission_proposals p on p.reaction_id = r.id
    left join ops_missions m on m.proposal_id = p.id
    where e.type in ('drill:work', 'drill:huge', 'drill:probe') and e.outcome = 'fired' and m.id is null
    union all
    select format('poison step %s is %s with cause %s after %s crashes', s.id, s.status, d.cause, s.crash_count)
    from ops_mission_steps s left join ops_step_dead_letters d on d.step_id = s.id and d.series = s.series
    where s.executor = 'drill_poison' and (s.status <> 'failed' or d.cause is distinct from 'worker_crash')
    union all
    select format('step %s of drill is %s: %s', s.id, s.status, s.last_error)
    from ops_mission_steps s where s.executor = 'drill' and s.status <> 'succeeded'`);
  return rows.map(({ problem }) => problem);
}

/** With all workers and clients gone, only the drill's own connections are left. */
async function leaks({ ask, client }: Arena): Promise<string[]> {
  await client.close();
  const look = () =>
    ask<{ what: string }>(
      `select format('%s %s: %s', application_name, state, left(query, 100)) as what from pg_stat_activity
       where datname = current_database() and backend_type = 'client backend' and application_name <> 'drill admin'`,
    );
  const isEmpty = async () => (await look()).length === 0;
  return until(isEmpty, { what: 'connections close', deadlineMs: 10_000 }).then(
    () => [],
    async () => (await look()).map(({ what }) => `connection left open: ${what}`),
  );
}

async function counts({ ask }: Arena, text: string): Promise<Record<string, number>> {
  return Object.fromEntries((await ask<{ what: string; n: number }>(text)).map(({ what, n }) => [what, n]));
}
