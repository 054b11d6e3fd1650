/**
 * What one claim of 50 costs: shared buffers by the server's own count, in a table that is full of what it must not
 * look at, and milliseconds while somebody holds an old snapshot, so that nothing dead can be taken away.
 */
import type { PoolClient } from 'pg';
import type { ClaimMarks } from '../../../supabase/client/schemas/inputs.js';
import { type Figure, median } from '../figure.js';
import { fillMissions, mark, openGates, type Room, settle } from '../room.js';
import { addCrowd } from './crowd.js';
import type { Measure } from './measure.js';

const batch = 50;
const looks = 3;

const whole = `select * from public.ops_claim_steps('${mark}', array['noop'], ${batch}, 60)`;
const select = `select public.ops_pick_steps(array['noop'], array[${batch}], ${batch}, '{}')`;

/** Shared buffers that a statement touches. What it did is taken back. */
export async function buffersOf(client: PoolClient, sql: string): Promise<number> {
  await client.query('begin');
  try {
    const { rows } = await client.query(`explain (analyze, buffers, timing off, format json) ${sql}`);
    const plan = rows[0]['QUERY PLAN'][0].Plan;
    return plan['Shared Hit Blocks'] + plan['Shared Read Blocks'];
  } finally {
    await client.query('rollback');
  }
}

type Cost = { whole: number | null; select: number | null };

/** The second look is the first that counts: a new connection reads the catalog. */
async function costOf({ database: { pool } }: Room): Promise<Cost> {
  const client = await pool.connect();
  const each: { whole: number; select: number }[] = [];
  try {
    for (let i = 0; i <= looks; i++)
      each.push({ whole: await buffersOf(client, whole), select: await buffersOf(client, select) });
  } finally {
    client.release();
  }
  const middle = (part: keyof Cost) => median(each.slice(1).map((cost) => cost[part] / batch));
  return { whole: middle('whole'), select: middle('select') };
}

const crowded: Measure = {
  name: 'claim of 50 in a full table',
  async run(room) {
    const { database, sizes } = room;
    await openGates(database);
    await fillMissions(database, Math.max(2 * batch, sizes.singles), 1);
    const costs: Cost[] = [];
    let before = 0;
    for (const finished of sizes.finished) {
      const isFirst = before === 0 && finished > 0;
      const others = isFirst ? { scheduled: sizes.scheduled, queued: sizes.foreign } : {};
      if (finished > 0) await addCrowd(database.pool, mark, { finished: finished - before, ...others });
      before = finished;
      await settle(database);
      costs.push(await costOf(room));
    }
    return sizes.finished.flatMap((_, i) => figures(i, costs));
  },
};

/** Named after what the full measure has, so that a quick one has the same names. */
const places = ['an empty table', '100,000 finished', '1 M finished'];

function figures(i: number, costs: Cost[]): Figure[] {
  const name = `claim of 50 beside ${places[i]}`;
  const [empty, cost] = [costs[0], costs[i]];
  const parts: Figure[] = [
    { name: `${name}, select`, value: cost?.select ?? null, unit: 'buffers/row' },
    { name: `${name}, whole`, value: cost?.whole ?? null, unit: 'buffers/row' },
  ];
  if (i === 0) return parts;
  const ratio = empty?.whole && cost?.whole ? cost.whole / empty.whole : null;
  return [...parts, { name: `${name}, against an empty table`, value: ratio, unit: 'times' }];
}

/** Steps that pass in bulk: queued, running and succeeded, as the engine's own writes. */
const passing = [
  'select public.ops_engine_begin()',
  `update public.ops_mission_steps set status = 'running', lease_epoch = lease_epoch + 1, worker_id = '${mark}',
     reserved_at = now(), lease_expires_at = now() + interval '1 minute' where key like 'copy\\_%' and status = 'queued'`,
  `update public.ops_mission_steps set status = 'succeeded', lease_expires_at = null where key like 'copy\\_%' and status = 'running'`,
];

const held: Measure = {
  name: 'claim of 50 under a held snapshot',
  async run(room) {
    const { database, sizes } = room;
    const { pool } = database;
    await openGates(database);
    await fillMissions(database, 1, 1);
    await addCrowd(pool, mark, { queued: sizes.passing, queuedFor: 'noop' });
    await settle(database);
    const holder = await pool.connect();
    try {
      await holder.query('begin isolation level repeatable read');
      await holder.query('select count(*) from public.ops_mission_steps');
      await pass(room);
      await fillMissions(database, batch * (looks + 2), 1);
      const { fromMark, fromHead } = await claimMs(room);
      return [
        { name: this.name, value: fromMark, unit: 'ms' },
        { name: `${this.name}, from the head`, value: fromHead, unit: 'ms' },
      ];
    } finally {
      await holder.query('rollback');
      holder.release();
    }
  },
};

async function pass({ database: { pool } }: Room): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    for (const sql of passing) await client.query(sql);
    await client.query('commit');
  } finally {
    client.release();
  }
}

/**
 * The first look goes from the head of the queue, as a worker's does now and then; those after it start where it found
 * its first step, as a worker's do whose look took long. Of these the median, without the first: it makes the plans.
 */
async function claimMs({ database: { port } }: Room): Promise<{ fromMark: number | null; fromHead: number }> {
  const claim = async (marks?: ClaimMarks) => {
    const started = performance.now();
    const steps = await port.claimSteps(
      { worker: mark, executors: ['noop'], limit: batch, ...(marks && { marks }) },
      { deadlineMs: 60_000 },
    );
    const took = performance.now() - started;
    const [first] = steps;
    if (first === undefined || steps.length !== batch)
      throw new Error(`a claim of ${batch} got ${steps.length}`);
    return { took, marks: { noop: { priority: first.priority, ready_at: first.ready_at } } };
  };
  let last = await claim();
  const fromHead = last.took;
  const times: number[] = [];
  for (let i = 0; i <= looks; i++) {
    last = await claim(last.marks);
    times.push(last.took);
  }
  return { fromMark: median(times.slice(1)), fromHead };
}

export const claims: Measure[] = [crowded, held];
