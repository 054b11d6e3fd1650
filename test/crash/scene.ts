/** A database, a world, and one step of each kind: what every crash is played in. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { createRegistry } from '../../local/executors/registry.js';
import { startWorker } from '../../local/worker/worker.js';
import { type Json, useEngine } from '../sql/engine-kit.js';
import { advanceClock } from '../support/clock.js';
import type { ChildConfig } from './child.js';
import { startChild } from './child-kit.js';
import { post, type Trace, wire } from './executors.js';

export const registry = createRegistry([post, wire]);
export type Kind = 'post' | 'wire';

export function useScene() {
  const engine = useEngine();
  const { db } = engine;
  const home = mkdtempSync(join(tmpdir(), 'ops-loop-crash-'));
  let world = '';
  let count = 0;

  const register = () =>
    engine.port.registerWorker({
      ...{ name: 'registrar', instance: crypto.randomUUID(), host: 'here', pid: 1 },
      executors: registry.registrations(),
    });
  beforeAll(register);
  beforeEach(async () => {
    world = join(home, String(++count));
    appendFileSync(world, '');
    const allowed_step_kinds = ['noop', 'post', 'wire'];
    await engine.setPolicy('auto_approve', { enabled: true, allowed_step_kinds, max_risk_level: 'critical' });
  });
  afterEach(async () => {
    expect(await db.sql('select * from ops_check_invariants()')).toEqual([]);
  });
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  const traces = (): Trace[] =>
    readFileSync(world, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));

  return {
    engine,
    db,
    traces,
    get world() {
      return world;
    },
    /** A mission of one step; answers the mission's id. */
    mission: (kind: Kind, params: { [key: string]: Json } = {}) =>
      engine.mission([{ key: kind, kind, params: { world, ...params } }], kind),
    child: (config: Omit<ChildConfig, 'url'> & { url?: string }) => startChild({ url: db.url, ...config }),
    /** Moves the clock past every lease. */
    pastLeases: () => advanceClock(db.sql, '2 minutes'),
    /** A worker in this process that does what is there to do, recovery included. */
    survive: async (name = 'survivor') => {
      const log = pino({ level: 'silent' });
      const worker = await startWorker({
        ...{ port: engine.port, log, name, registry, once: true, print: () => {} },
      });
      return worker.done;
    },
    /** What became of a mission of one step, in the database and outside. */
    story: async (missionId: string) => {
      const step = await db.one<{ id: string; kind: Kind; status: string }>(
        'select * from ops_mission_steps where mission_id = $1',
        [missionId],
      );
      const mission = await engine.missionRow(missionId);
      const column = async (sql: string) => (await db.sql<{ x: string }>(sql, [missionId])).map(({ x }) => x);
      return {
        step: step.status,
        mission: mission.status,
        attempts: await column(
          'select status as x from ops_action_runs where mission_id = $1 order by started_at, run_id',
        ),
        letters: await column('select cause as x from ops_step_dead_letters where mission_id = $1'),
        successes: (
          await column(
            "select id::text as x from ops_agent_events where mission_id = $1 and type like 'step:%:succeeded'",
          )
        ).length,
        effects: traces().filter(({ what, key }) => what === 'effect' && key === step.id).length,
      };
    },
    /** Every row that a stale worker could spoil, as text. */
    rows: async (missionId: string): Promise<string[]> => {
      const tables = ['ops_mission_steps', 'ops_action_runs', 'ops_step_dead_letters', 'ops_agent_events'];
      const parts = tables.map((t) => `select t::text as row from ${t} t where mission_id = $1`);
      const all = ['select m::text as row from ops_missions m where id = $1', ...parts].join(' union all ');
      const rows = await db.sql<{ row: string }>(`${all} order by 1`, [missionId]);
      return rows.map(({ row }) => row);
    },
  };
}
