/**
 * Rounds of a stale write: an old owner loses a step in some way, others have it or have had it, and then the old
 * owner writes with the lease it lost. Many rounds share their calls, since each is about a step of its own.
 */
import fc from 'fast-check';
import type { OpsPort } from '../../supabase/client/port.js';
import type { ClaimedStep } from '../../supabase/client/schemas/rows.js';
import { type Engine, type Json, type Lease, noop, ref } from '../sql/engine-kit.js';
import { advanceClock } from '../support/clock.js';

/** How the old owner loses its lease. */
const losses = ['expired', 'released', 'failed', 'revived'] as const;
/** What the step has come to when the stale write arrives. `racing`: the new owner's result arrives with it. */
const fates = ['queued', 'dead', 'running', 'renewed', 'succeeded', 'failed', 'released', 'racing'] as const;
const writes = ['complete', 'fail', 'renew', 'release'] as const;
const outcomes = ['retryable', 'permanent', 'rate_limited', 'timed_out', 'cancelled', 'unknown'] as const;

export type Round = {
  loss: (typeof losses)[number];
  fate: (typeof fates)[number];
  write: (typeof writes)[number];
  outcome: (typeof outcomes)[number];
};
/** Rounds that are played together; both owners may have the same name. */
export type Scene = { rounds: Round[]; sameName: boolean };

export const scenes = (size: number): fc.Arbitrary<Scene> =>
  fc.record({
    sameName: fc.boolean(),
    rounds: fc.array(
      fc.record({
        loss: fc.constantFrom(...losses),
        fate: fc.constantFrom(...fates),
        write: fc.constantFrom(...writes),
        outcome: fc.constantFrom(...outcomes),
      }),
      { minLength: size, maxLength: size },
    ),
  });

type Played = Round & { lease: ClaimedStep };
type Answer = { step_id: string; held: boolean };
export type Owners = { old: OpsPort; new: OpsPort };

/** What no new owner is to have is of an executor that only the old one claims. */
const stepOf = (fate: Round['fate']): { [key: string]: Json } => {
  if (fate === 'queued') return { key: 's', kind: 'radar', params: { action: 'list' } };
  return fate === 'dead' ? { key: 's', kind: 'openclaw', params: { mode: 'exec', message: 'x' } } : noop('s');
};

/** Plays one scene in an empty database; answers the rounds in which the stale write did something. */
export async function play(engine: Engine, owners: Owners, scene: Scene): Promise<Round[]> {
  await engine.reset();
  const played = await lose(engine, owners, scene.rounds);
  const live = await takeOver(owners.new, scene, played);
  const racing = played.filter(({ fate }) => fate === 'racing');
  const before = await rowsByMission(engine);
  const [answers] = await Promise.all([
    writeStale(owners.old, played),
    completeAll(owners.new, leasesOf(live, racing), 'new'),
  ]);
  const after = await rowsByMission(engine);
  const results = await resultsOf(engine);
  return played.filter(({ lease, fate }) => {
    const isHeld = answers.some(({ step_id, held }) => step_id === lease.id && held);
    const isChanged =
      fate === 'racing'
        ? results.get(lease.id) !== 'new'
        : before.get(lease.mission_id) !== after.get(lease.mission_id);
    return isHeld || isChanged;
  });
}

/** The old owner claims a step for each round and loses them all. */
async function lose(engine: Engine, { old }: Owners, rounds: Round[]): Promise<Played[]> {
  const proposals = rounds.map(({ fate }) => ({ template: { title: 'a round', steps: [stepOf(fate)] } }));
  const missions = await engine.port.createProposals({ proposals });
  const executors = ['noop', 'radar', 'openclaw'];
  const claimed = await old.claimSteps({ worker: 'old', executors, limit: rounds.length, leaseSeconds: 60 });
  const played = rounds.map((round, i) => {
    const lease = claimed.find(({ mission_id }) => mission_id === missions[i]?.mission_id);
    if (lease === undefined) throw new Error('the old owner did not get every step');
    return { ...round, loss: lease.executor === 'noop' ? round.loss : 'expired', lease };
  });
  const lost = (loss: Round['loss']) => played.filter((p) => p.loss === loss).map(({ lease }) => lease);
  await old.releaseSteps({ worker: 'old', leases: lost('released').map(ref) });
  await failAll(old, lost('failed'), 'retryable');
  await failAll(old, lost('revived'), 'permanent');
  await Promise.all(lost('revived').map(({ mission_id }) => engine.port.retryMission({ id: mission_id })));
  await advanceClock(engine.db.sql, '1 hour');
  await engine.port.recoverExpiredLeases();
  return played;
}

/** The new owner claims what can be claimed and brings it to where its round wants it. */
async function takeOver(
  port: OpsPort,
  { sameName, rounds }: Scene,
  played: Played[],
): Promise<ClaimedStep[]> {
  const worker = sameName ? 'old' : 'new';
  const limit = rounds.length;
  const live = await port.claimSteps({ worker, executors: ['noop'], limit, leaseSeconds: 600 });
  const of = (fate: Round['fate']) =>
    leasesOf(
      live,
      played.filter((p) => p.fate === fate),
    );
  await port.renewLeases({ worker, leases: of('renewed').map(ref), leaseSeconds: 900 });
  await completeAll(port, of('succeeded'), 'new');
  await failAll(port, of('failed'), 'permanent');
  await port.releaseSteps({ worker, leases: of('released').map(ref) });
  return live;
}

const leasesOf = (live: ClaimedStep[], played: Played[]): ClaimedStep[] =>
  live.filter(({ id }) => played.some(({ lease }) => lease.id === id));

const completeAll = (port: OpsPort, leases: Lease[], result: string) =>
  port.completeSteps({ worker: 'w', results: leases.map((lease) => ({ ...ref(lease), result })) });

const failAll = (port: OpsPort, leases: Lease[], outcome: Round['outcome']) =>
  port.failSteps({
    worker: 'w',
    failures: leases.map((lease) => ({ ...ref(lease), outcome, error: 'it broke' })),
  });

async function writeStale(port: OpsPort, played: Played[]): Promise<Answer[]> {
  const by = (write: Round['write']) => played.filter((p) => p.write === write);
  const refs = (write: Round['write']) => by(write).map(({ lease }) => ref(lease));
  const events = [{ type: 'crash:stale' }];
  const error = 'written by a zombie';
  const answers = await Promise.all([
    port.completeSteps({
      worker: 'old',
      results: refs('complete').map((r) => ({ ...r, result: 'old', events })),
    }),
    port.failSteps({
      worker: 'old',
      failures: by('fail').map(({ lease, outcome }) => ({ ...ref(lease), outcome, error })),
    }),
    port.renewLeases({ worker: 'old', leases: refs('renew'), leaseSeconds: 3_600 }),
    port.releaseSteps({ worker: 'old', leases: refs('release') }),
  ]);
  return answers.flat();
}

const tables = ['ops_mission_steps', 'ops_action_runs', 'ops_step_dead_letters', 'ops_agent_events'];

/** Whole rows of everything that belongs to a mission, by mission. */
async function rowsByMission({ db }: Engine): Promise<Map<string, string>> {
  const parts = tables.map((table) => `select mission_id, t::text as line from ${table} t`);
  const all = ['select id as mission_id, m::text as line from ops_missions m', ...parts].join(' union all ');
  const rows = await db.sql<{ id: string; text: string }>(
    `select mission_id as id, string_agg(line, E'\\n' order by line) as text from (${all}) t group by mission_id`,
  );
  return new Map(rows.map(({ id, text }) => [id, text]));
}

async function resultsOf({ db }: Engine): Promise<Map<string, Json>> {
  const rows = await db.sql<{ id: string; result: Json }>('select id, result from ops_mission_steps');
  return new Map(rows.map(({ id, result }) => [id, result]));
}
