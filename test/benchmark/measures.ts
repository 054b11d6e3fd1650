/** What is measured. Each measure prepares its own database, then times one thing; figures are per second. */
import type { Database } from '../../supabase/client/pg.js';
import { bareLimit } from './bare.js';
import { ingest } from './ingest.js';
import { drainWithWorker, openGates, type Room, settle } from './room.js';

export type Figure = { name: string; value: number; unit: string; floor?: number; ceiling?: number };
export type Measure = { name: string; run(room: Room): Promise<Figure[]> };

const rate = (count: number, ms: number): number => Math.round((count / ms) * 1000);

/** Missions of `steps` no-ops whose results are stored. */
const template = (steps: number) => ({
  title: 'benchmark',
  steps: Array.from({ length: steps }, (_, i) => ({ kind: 'noop', params: { echo: { i } } })),
});

async function fillMissions({ port }: Database, missions: number, steps: number): Promise<number> {
  const started = performance.now();
  for (let i = 0; i < missions; i += 1000)
    await port.createProposals(
      {
        proposals: Array.from({ length: Math.min(1000, missions - i) }, () => ({
          template: template(steps),
        })),
      },
      { deadlineMs: 60_000 },
    );
  return performance.now() - started;
}

/** Fails loudly when a figure would be about work that was not done. */
async function expectCount({ pool }: Database, sql: string, expected: number): Promise<void> {
  const { rows } = await pool.query<{ n: number }>(sql);
  if (Number(rows[0]?.n) !== expected) throw new Error(`${sql}: ${rows[0]?.n}, expected ${expected}`);
}

function drain(name: string, missions: number, steps: number, concurrency?: number): Measure {
  return {
    name,
    async run({ database }) {
      await openGates(database);
      const filledMs = await fillMissions(database, missions, steps);
      await settle(database);
      const ms = await drainWithWorker(database, concurrency);
      await expectCount(
        database,
        `select count(*) as n from ops_missions where status = 'succeeded'`,
        missions,
      );
      await expectCount(
        database,
        `select count(*) as n from ops_action_runs where status = 'succeeded'`,
        missions * steps,
      );
      const propose: Figure = { name: 'bulk propose', value: rate(missions, filledMs), unit: 'proposals/s' };
      return steps === 1
        ? [
            { name, value: rate(missions, ms), unit: 'steps/s', ...(concurrency ? {} : { floor: 8_000 }) },
            propose,
          ]
        : [
            { name, value: rate(missions, ms), unit: 'missions/s', floor: 3_000 },
            { name: `${name}, steps`, value: rate(missions * steps, ms), unit: 'steps/s' },
          ];
    },
  };
}

/** 50 patterns over 50 types, each with a condition; `share` of the events meets it. */
const matrix = {
  patterns: Array.from({ length: 50 }, (_, i) => ({
    id: `pattern_${i}`,
    event_type: `bench:type_${i}`,
    where: '$.data.level >= 5 && $.data.name starts with "n"',
    template: {
      title: 'Level {{event.data.level}}',
      steps: [{ kind: 'noop', params: { echo: '{{event.data.name}}' } }],
    },
  })),
};

function heartbeat(name: string, share: number, floor: number | undefined, matching = true): Measure {
  const count = 10_000;
  return {
    name,
    async run({ database }) {
      const { port } = database;
      await openGates(database);
      await port.setPolicy({ key: 'reaction_matrix', value: matrix });
      const emitted = performance.now();
      for (let i = 0; i < count; i += 2000)
        await port.emitEvents({ events: events(i, 2000, share, matching) });
      const emitMs = performance.now() - emitted;
      await settle(database);
      const started = performance.now();
      for (let more = true; more; ) ({ more } = await port.heartbeat({ source: 'reactive' }));
      const ms = performance.now() - started;
      await expectCount(
        database,
        `select count(*) as n from ops_agent_events where trust <> 'loop' and processed_at is null`,
        0,
      );
      await expectCount(database, 'select count(*) as n from ops_missions', Math.round(count * share));
      return [
        { name, value: rate(count, ms), unit: 'events/s', ...(floor ? { floor } : {}) },
        { name: 'bulk emit', value: rate(count, emitMs), unit: 'events/s' },
      ];
    },
  };
}

const events = (from: number, count: number, share: number, matching: boolean) =>
  Array.from({ length: count }, (_, k) => {
    const i = from + k;
    const fires = share > 0 && i % Math.round(1 / share) === 0;
    return {
      type: matching ? `bench:type_${i % 50}` : `other:type_${i % 50}`,
      data: { level: fires ? 7 : 1, name: `n${i}` },
    };
  });

/** Buffers that one claim of 50 reads when the table is full of what it must not look at. */
const claimBuffers: Measure = {
  name: 'claim of 50 beside 100,000 finished, 20,000 scheduled, 20,000 of another executor',
  async run({ database }) {
    const { pool } = database;
    await openGates(database);
    await fillMissions(database, 200, 1);
    await pool.query(crowd);
    await settle(database);
    const buffers = await claimCost(database);
    return [{ name: this.name, value: Math.round(buffers / 50), unit: 'buffers/row' }];
  },
};

/** Copies of a finished step: `created_at` of the past makes them copies to the guard. */
const crowd = `
  insert into ops_mission_steps (mission_id, key, kind, executor, status, ready_at, created_at)
  select m.id, 'k' || i, 'noop', case when i > 120000 then 'other' else 'noop' end,
    case when i <= 100000 then 'succeeded' when i <= 120000 then 'scheduled' else 'queued' end,
    now() + case when i <= 120000 then interval '1 day' else interval '0' end, now() - interval '1 hour'
  from (select id from ops_missions limit 1) m, generate_series(1, 140000) i`;

/** Shared buffers that `ops_claim_steps` touches, by the server's own count. */
export async function claimCost({ pool }: Database): Promise<number> {
  const { rows } = await pool.query(
    `explain (analyze, buffers, format json) select * from ops_claim_steps('benchmark', array['noop'], 50, 60)`,
  );
  const plan = rows[0]['QUERY PLAN'][0].Plan;
  return plan['Shared Hit Blocks'] + plan['Shared Read Blocks'];
}

export const measures: Measure[] = [
  { name: 'bare claim and finish, batches of 100', run: bareLimit },
  drain('single no-op steps, default settings', 20_000, 1),
  drain('single no-op steps, tuned', 20_000, 1, 1000),
  drain('missions of 3 steps', 6_000, 3),
  heartbeat('heartbeat, no type matches', 0, 10_000, false),
  heartbeat('heartbeat, 1 % fires', 0.01, 10_000),
  heartbeat('heartbeat, all fire to missions', 1, undefined),
  claimBuffers,
  ingest,
];
