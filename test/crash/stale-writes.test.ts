/**
 * Two ports, as the old and the new owner of a step: whatever the old one still writes, no row changes. The suite
 * plays 2,000 rounds; `OPS_PROPERTY_RUNS` multiplies them. fast-check prints seed and path of a counterexample.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../supabase/client/pg.js';
import { useEngine } from '../sql/engine-kit.js';
import { play, type Round, scenes } from './stale-rounds.js';

const roundsPerScene = 100;
const multiplier = Number(process.env.OPS_PROPERTY_RUNS ?? 1);
const numRuns = Math.ceil(20 * multiplier);

function useOwners(engine: ReturnType<typeof useEngine>) {
  const opened: Database[] = [];
  beforeAll(() => {
    for (const application_name of ['old', 'new'])
      opened.push(openDatabase({ connectionString: engine.db.url, application_name, max: 4 }));
  });
  afterAll(() => Promise.all(opened.map((database) => database.close())));
  const port = (i: number) => opened[i]?.port ?? engine.port;
  return {
    get old() {
      return port(0);
    },
    get new() {
      return port(1);
    },
  };
}

describe('the engine', () => {
  const engine = useEngine();
  const owners = useOwners(engine);

  test('takes no stale write', { timeout: 30_000 + 10_000 * multiplier }, async () => {
    let rounds = 0;
    const taken: Round[] = [];
    await fc.assert(
      fc.asyncProperty(scenes(roundsPerScene), async (scene) => {
        taken.push(...(await play(engine, owners, scene)));
        rounds += scene.rounds.length;
        expect(taken).toEqual([]);
        expect(await engine.db.sql('select * from ops_check_invariants()')).toEqual([]);
      }),
      { numRuns, endOnFailure: true },
    );
    process.stdout.write(`stale writes: ${taken.length} of ${rounds} rounds\n`);
    expect(rounds).toBeGreaterThanOrEqual(2_000 * multiplier);
  });
});

/** The guard by epoch of each write-back, as it stands in its function. */
const guards = [
  { fn: 'ops_complete_steps', guard: /s\.lease_epoch = i\.epoch and /, write: 'complete' },
  { fn: 'ops_settle', guard: / and s\.lease_epoch = [iv]\.lease_epoch/g, write: 'fail' },
  { fn: 'ops_renew_leases', guard: / and l\.lease_epoch = s\.lease_epoch/, write: 'renew' },
  { fn: 'ops_release_steps', guard: / and s\.lease_epoch = l\.lease_epoch/, write: 'release' },
] as const;

describe('the rounds notice a missing guard', () => {
  const engine = useEngine();
  const owners = useOwners(engine);
  const [sample] = fc.sample(scenes(200), { numRuns: 1, seed: 7 });

  test.each(guards)('in $fn', async ({ fn, guard, write }) => {
    const { source } = await engine.db.one<{ source: string }>(
      'select pg_get_functiondef(oid) as source from pg_proc where proname = $1',
      [fn],
    );
    const broken = source.replace(guard, ' ');
    expect(broken).not.toBe(source);
    await engine.db.sql(broken);
    const rounds = (sample?.rounds ?? []).filter((round) => round.write === write);
    const taken = await play(engine, owners, { rounds, sameName: false });
    await engine.db.sql(source);
    expect(taken.length).toBeGreaterThan(0);
    expect(await play(engine, owners, { rounds, sameName: false })).toEqual([]);
  });
});
