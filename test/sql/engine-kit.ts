/**
 * A database with an open gate: every policy lets everything through, nothing is in the tables, the clock is real.
 * Tests tighten what they are about. Each test of a file starts from there.
 */
import type { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import type { OpenDatabase } from '../../local/database.js';
import type { OpsPort } from '../../supabase/client/port.js';
import type { BeatRound, ClaimedStep } from '../../supabase/client/schemas/rows.js';
import type { FailureOutcome, StepStatus } from '../../supabase/client/terms.js';
import { openAdapter } from '../support/adapter.js';
import { setClock } from '../support/clock.js';
import { type DatabaseOptions, type TestDatabase, useDatabase } from '../support/database.js';
import { until } from '../support/until.js';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type StepTemplate = { [key: string]: Json };
export type Lease = Pick<ClaimedStep, 'id' | 'lease_epoch'>;
export type StepRow = {
  id: string;
  mission_id: string;
  key: string;
  status: StepStatus;
  params: Json;
  wait_reason: string | null;
  lease_epoch: string;
  reserved_at: Date | null;
  lease_expires_at: Date | null;
  ready_at: Date;
  failure_count: number;
  crash_count: number;
  series: number;
  pending_needs: number;
  skipped_for: string | null;
  last_error: string | null;
  result: Json;
};

export const noop = (key: string, more: StepTemplate = {}): StepTemplate => ({ key, kind: 'noop', ...more });

/** The update that operators know by heart. */
export const reviveByHand =
  "update ops_mission_steps set status = 'queued', reserved_at = null, lease_expires_at = null, failure_count = 0, last_error = null";

const openPolicies: Record<string, Json> = {
  reaction_matrix: { patterns: [] },
  auto_approve: {
    enabled: true,
    allowed_step_kinds: ['noop', 'radar', 'openclaw', 'agent'],
    max_risk_level: 'critical',
  },
  proposal_caps: {},
  worker_policy: {},
  // Else the events of a beat would depend on how much a test leaves open.
  alerts: { enabled: false },
};

const tables = [
  'ops_agent_events',
  'ops_event_decisions',
  'ops_agent_reactions',
  'ops_mission_proposals',
  'ops_missions',
  'ops_mission_steps',
  'ops_action_runs',
  'ops_step_dead_letters',
  'ops_workers',
  'ops_limits',
  'ops_heartbeats',
  'ops_demand_radar',
  'ops_budgets',
  'ops_budget_settlements',
  'ops_schedule_slots',
  'ops_schedule_plans',
];

// Deleting a few rows is several times quicker than truncating their tables; the mark lets open rows go too.
const clean = `
  select set_config('ops.engine', 'on', true);
  ${tables.map((table) => `delete from ${table};`).join(' ')}
  select setval('ops_policy_refusals', 1, false);
  update ops_wakeups set waiting = false;
  delete from ops_policy where key in ('switches', 'loop_limits', 'approvals', 'budgets', 'schedules');
  update ops_executors set exclusive = null where exclusive is not null and name = 'noop';
  update ops_test.clock set shift = '0', fixed_at = null;
`;

// Judging and recording five policies takes longer than many a test; most tests leave them as they are.
const reopen = `
  insert into ops_policy (key, value)
  select opened.key, opened.value from jsonb_each($1) as opened
  where not exists (select from ops_policy p where p.key = opened.key and p.value = opened.value)
  on conflict (key) do update set value = excluded.value`;

export type Engine = ReturnType<typeof useEngine>;

export function useEngine(options: DatabaseOptions = {}) {
  const db = useDatabase(options);
  let opened: OpenDatabase | undefined;
  const port = (): OpsPort => {
    if (opened === undefined) throw new Error('the port is open from beforeAll to afterAll only');
    return opened.port;
  };
  beforeAll(async () => {
    // Two files at a time share a server of a hundred connections.
    opened = await openAdapter(db, 25);
    await setClock(db.sql, 'real');
  });
  beforeEach(async () => {
    await Promise.all([...holders].map((client) => client.end().catch(() => {})));
    holders.clear();
    await db.sql(clean);
    await db.sql(reopen, [JSON.stringify(openPolicies)]);
  });
  // Whatever a test was about, it leaves no contradiction behind.
  afterEach(async () => expect(await port().checkInvariants()).toEqual([]));
  afterAll(() => opened?.close());

  const setPolicy = (key: string, value: Json) =>
    db.sql(
      'insert into ops_policy (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value',
      [key, JSON.stringify(value)],
    );

  /** A mission of these steps, approved at once. */
  const mission = async (steps: StepTemplate[], title = 'a mission'): Promise<string> => {
    const { mission_id, reason } = await port().createProposal({ template: { title, steps } });
    if (mission_id === null) throw new Error(`the mission was not approved: ${reason}`);
    return mission_id;
  };

  const steps = (missionId: string): Promise<StepRow[]> =>
    db.sql('select * from ops_mission_steps where mission_id = $1 order by position', [missionId]);

  return {
    db,
    get port() {
      return port();
    },
    /** Empties the tables, opens the policies that are tightened seldom, and sets the clock right. */
    reset: () => db.sql(clean),
    /** Empties the tables and leaves the policies as they are. */
    forget: () =>
      db.sql(
        `select set_config('ops.engine', 'on', true); ${tables.map((table) => `delete from ${table};`).join(' ')}`,
      ),
    setPolicy,
    mission,
    steps,
    /** Makes these the patterns of the reaction matrix. */
    patterns: (...patterns: Json[]) => setPolicy('reaction_matrix', { patterns }),
    /** `{key: status}` of a mission's steps. */
    statuses: async (missionId: string) =>
      Object.fromEntries((await steps(missionId)).map(({ key, status }) => [key, status])),
    step: async (missionId: string, key: string): Promise<StepRow> => {
      const row = (await steps(missionId)).find((step) => step.key === key);
      if (row === undefined) throw new Error(`mission ${missionId} has no step ${key}`);
      return row;
    },
    missionRow: (id: string) => db.one('select * from ops_missions where id = $1', [id]),
    claim: (limit = 100, executors = ['noop'], leaseSeconds = 60) =>
      port().claimSteps({ worker: 'w', executors, limit, leaseSeconds }),
    complete: (leases: Lease[], result: Json = {}) =>
      port().completeSteps({ worker: 'w', results: leases.map((lease) => ({ ...ref(lease), result })) }),
    fail: (leases: Lease[], outcome: FailureOutcome, error = 'it broke') =>
      port().failSteps({ worker: 'w', failures: leases.map((lease) => ({ ...ref(lease), outcome, error })) }),
    release: (leases: Lease[]) => port().releaseSteps({ worker: 'w', leases: leases.map(ref) }),
    renew: (leases: Lease[], leaseSeconds = 60) =>
      port().renewLeases({ worker: 'w', leases: leases.map(ref), leaseSeconds }),
    emit: (type: string, data: { [key: string]: Json } = {}) => port().emitEvent({ type, data }),
    /** Rounds until nothing is left; fails when a phase fails. The reactive kind leaves no row and no event. */
    beat: async (source = 'reactive'): Promise<BeatRound[]> => {
      const rounds: BeatRound[] = [];
      do {
        rounds.push(await port().heartbeat({ source }));
      } while (rounds.at(-1)?.more && rounds.length < 100);
      const failures = rounds.flatMap((round) => round.failures);
      if (failures.length > 0) throw new Error(`phases failed: ${JSON.stringify(failures)}`);
      return rounds;
    },
  };
}

/** Rounds of each race: a few here, a hundred by `npm run test:races`. */
export const raceRounds = Number(process.env.OPS_TEST_ROUNDS ?? 5);
/** So many at once. */
export const race = <T>(count: number, work: (n: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, n) => work(n)));

export const ref = ({ id, lease_epoch }: Lease) => ({ step_id: id, lease_epoch });

/** The only item; fails when there is none or more than one. */
export function only<T>(items: T[]): T {
  const [item] = items;
  if (item === undefined || items.length > 1) throw new Error(`expected one item, got ${items.length}`);
  return item;
}

/** Transactions that tests have open; what a failed test left behind ends before the next one. */
const holders = new Set<Client>();

/** Runs a statement in an open transaction of its own connection; the caller ends both. */
export async function inTransaction(
  db: TestDatabase,
  statement: string,
  values?: unknown[],
): Promise<Client> {
  const client = await db.connect();
  holders.add(client);
  await client.query('begin');
  await client.query(statement, values);
  return client;
}

/** Opens a transaction that holds what the statement locks; the function that it answers ends it. */
export async function hold(
  db: TestDatabase,
  statement: string,
  values?: unknown[],
): Promise<() => Promise<void>> {
  const holder = await inTransaction(db, statement, values);
  return async () => {
    await holder.query('rollback');
    await holder.end();
  };
}

/** Waits until this many backends of the database wait for a lock; answers their pids. */
export function blocked(db: TestDatabase, count: number, what: string): Promise<number[]> {
  return until(
    async () => {
      const rows = await db.sql<{ pid: number }>(
        "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      );
      return rows.length >= count && rows.map(({ pid }) => pid);
    },
    { what: `${count} waiting for a lock: ${what}` },
  );
}
