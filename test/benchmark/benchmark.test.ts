import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { runBenchmark } from '../../local/benchmark/benchmark.js';
import { bounds } from '../../local/benchmark/bounds.js';
import { bareName, type Report, summarize } from '../../local/benchmark/figure.js';
import { givenHouse } from '../../local/benchmark/house.js';
import { pageFile, pageWith, readBaseline } from '../../local/benchmark/page.js';
import { compare } from '../../local/benchmark/report.js';
import { quickSizes } from '../../local/benchmark/sizes.js';
import { runCli } from '../support/cli.js';
import { createDatabase, useDatabase } from '../support/database.js';

const database = useDatabase();

// Ten worker processes and seventeen databases: seconds on a quiet machine, more beside others.
describe('the benchmark', { timeout: 180_000 }, () => {
  test('runs every measure at toy size, and every bound has its figure', async () => {
    const house = await givenHouse(database.adminUrl, quickSizes, false);
    const report = await runBenchmark({ house, rounds: 1, only: '', quick: true }).finally(house.stop);
    for (const { name, value } of report.results)
      if (value !== null || !name.endsWith(': server'))
        expect([name, Number.isFinite(value)]).toEqual([name, true]);
    const names = new Set(report.results.map(({ name }) => name));
    expect(bounds.filter(({ figure }) => !names.has(figure))).toEqual([]);
    const left = await database.sql(
      "select datname from pg_database where datname like 'ops_loop_benchmark%'",
    );
    expect(left).toEqual([]);
  });

  test('refuses a database that is in use, unless it is told to go on', async () => {
    const used = await createDatabase();
    try {
      await used.sql("insert into ops_agent_events (type) values ('shop:order')");
      const args = ['benchmark', '--quick', '--only', 'nothing else', '--json', '--url', used.adminUrl];
      const refused = await runCli(args);
      expect(JSON.parse(refused.stdout).error).toMatchObject({
        code: 'OPS_015',
        detail: { held: ['events'] },
      });
      expect(refused.code).toBe(3);
      const allowed = await runCli([...args, '--anyway']);
      expect(allowed.code, allowed.stderr).toBe(0);
      expect(JSON.parse(allowed.stdout).results).toMatchObject([
        { name: bareName, unit: 'rows/s', of_bare: 1 },
      ]);
      expect(await used.sql('select type from ops_agent_events')).toEqual([{ type: 'shop:order' }]);
    } finally {
      await used.dispose();
    }
  });

  test('takes out again what it made where it may not create a database', async () => {
    const owned = await createDatabase({ asOwner: true });
    try {
      const policies = 'select key, value from ops_policy order by key';
      const before = await owned.sql(policies);
      for (const only of ['all fire', 'missions of 3']) {
        const house = await givenHouse(owned.url, quickSizes, false);
        const { results } = await runBenchmark({ house, rounds: 1, only, quick: true }).finally(house.stop);
        expect(results.length).toBeGreaterThan(1);
      }
      expect(await owned.sql(policies)).toEqual(before);
      expect(await owned.sql(rowsLeft)).toEqual([{ rows: '0' }]);
    } finally {
      await owned.dispose();
    }
  });
});

const rowsLeft = `select (select count(*) from ops_agent_events) + (select count(*) from ops_agent_reactions)
  + (select count(*) from ops_mission_proposals) + (select count(*) from ops_missions)
  + (select count(*) from ops_mission_steps) + (select count(*) from ops_action_runs) as rows`;

describe('the report', () => {
  const steps = 'no-op steps, default settings';
  const reportOf = (bare: number, rate: number, beatMs: number): Report => ({
    measured_at: '2026-01-01T00:00:00.000Z',
    machine: { cores: 2, cpu: 'any', memory_gb: 1, node: '20', postgres: '17' },
    rounds: 1,
    quick: false,
    results: summarize([
      [
        { name: bareName, value: bare, unit: 'rows/s' },
        { name: steps, value: rate, unit: 'steps/s' },
        { name: 'idle beat', value: beatMs, unit: 'ms' },
      ],
    ]),
  });

  test('takes the median of the rounds and holds it against its bound', () => {
    const rounds = [9_000, 12_000, 11_000].map((value) => [{ name: steps, value, unit: 'steps/s' }]);
    expect(summarize(rounds)).toMatchObject([{ value: 11_000, samples: 3, bound: '≥ 10,000', met: true }]);
    expect(summarize(rounds.slice(0, 1))).toMatchObject([{ value: 9_000, met: false }]);
  });

  test('has no verdict on what this machine cannot say', () => {
    expect(summarize([[{ name: steps, value: null, unit: 'steps/s' }]])).toMatchObject([
      { value: null, met: null },
    ]);
  });

  test('compares rates by their ratio to bare, everything else as it is, and passes over noise', () => {
    const before = reportOf(80_000, 16_000, 10);
    expect(compare(before, reportOf(40_000, 8_000, 11))).toEqual([]);
    expect(compare(before, reportOf(80_000, 8_000, 20))).toEqual([
      { name: steps, before: 0.2, after: 0.1, change: -0.5, ratio: true },
      { name: 'idle beat', before: 10, after: 20, change: 1, ratio: false },
    ]);
  });

  test('docs/benchmarks.md says what docs/benchmarks.json says', async () => {
    const page = await readFile(pageFile, 'utf8');
    expect(page).toBe(pageWith(page, await readBaseline()));
  });
});
