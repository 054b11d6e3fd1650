/** What the doctor makes of figures, and what it finds on a real server. */
import { describe, expect, test } from 'vitest';
import * as judge from '../../local/doctor/judge.js';
import { readVitals, type Vitals } from '../../local/doctor/vitals.js';
import { parseConnection } from '../../supabase/client/connection.js';
import { schemaVersion } from '../../supabase/client/terms.js';
import { runCli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';

const well: Vitals = {
  ...{ server: '17.10', major: 17, oldest_seconds: null, oldest_pid: null, oldest_state: null },
  ...{ tables: [], clockAheadMs: 3, hears: true },
};
const levels = (...checks: { level: string }[]) => checks.map(({ level }) => level);

describe('the doctor says', () => {
  test('which versions are too old, and what to do', () => {
    expect(judge.judgeVersions('v20.19.0', schemaVersion, well)).toMatchObject({
      level: 'ok',
      findings: [`Node v20.19.0, PostgreSQL 17.10, schema ${schemaVersion}`],
    });
    const { level, findings } = judge.judgeVersions('v18.20.1', '0001', { ...well, major: 14 });
    expect(level).toBe('bad');
    expect(findings[0]).toMatch(
      /install Node 20.19 or later; move to PostgreSQL 15 or later; run ops-loop migrate/,
    );
  });

  test('how old the last beat is', () => {
    const now = Date.parse('2026-11-20T12:00:00Z');
    const at = (last_beat_at: string | null) => judge.judgeBeat({ last_beat_at }, now);
    const beats = ['2026-11-20T11:59:00Z', '2026-11-20T11:40:00Z', '2026-11-20T10:00:00Z', null].map(at);
    expect(levels(...beats)).toEqual(['ok', 'warn', 'bad', 'warn']);
    expect(beats[2]?.findings).toEqual([expect.stringMatching(/^last beat 2 h ago; run ops-loop heartbeat/)]);
  });

  test('which schedule nobody plans, and which cannot be', () => {
    const now = Date.parse('2026-11-20T12:00:00Z');
    const at = (from_at: string, problem: string | null = null) =>
      judge.judgeSchedules(
        { schedules: [{ id: 'nightly', problem }], toPlan: [{ id: 'nightly', from_at }] },
        now,
      );
    const checks = ['2026-11-20T12:30:00Z', '2026-11-20T11:50:00Z', '2026-11-20T03:00:00Z'].map((from) =>
      at(from),
    );
    expect(levels(...checks)).toEqual(['ok', 'warn', 'bad']);
    expect(checks[2]?.findings).toEqual([
      expect.stringMatching(/^nightly is not planned since 9 h, .*ops-loop heartbeat/),
    ]);
    expect(at('2026-11-20T12:30:00Z', 'no such zone')).toMatchObject({
      level: 'bad',
      findings: ['nightly cannot be planned: no such zone'],
    });
  });

  test('that a queue waits, above all for nobody', () => {
    const at = (queued_steps: number, workers: number) => judge.judgeQueue({ queued_steps, workers });
    expect(levels(at(0, 0), at(50, 1), at(51, 1), at(501, 1), at(1, 0))).toEqual([
      'ok',
      'ok',
      'warn',
      'bad',
      'bad',
    ]);
    expect(at(1, 0).findings[0]).toContain('no worker is alive');
  });

  test('which tables are dead wood, and which transaction keeps them so', () => {
    const bloat = (live: number, dead: number) =>
      judge.judgeBloat({ ...well, tables: [{ name: 'ops_mission_steps', live, dead }] });
    expect(
      levels(bloat(0, 9_999), bloat(10_000, 10_000), bloat(10_000, 12_000), bloat(1_000, 10_000)),
    ).toEqual(['ok', 'ok', 'warn', 'bad']);
    expect(bloat(1_000, 10_000).findings[0]).toContain('vacuum public.ops_mission_steps');
    const open = (oldest_seconds: number) =>
      judge.judgeTransactions({
        ...well,
        oldest_seconds,
        oldest_pid: 7,
        oldest_state: 'idle in transaction',
      });
    expect(levels(judge.judgeTransactions(well), open(10), open(600), open(7_200))).toEqual([
      'ok',
      'ok',
      'warn',
      'bad',
    ]);
    expect(open(600).findings[0]).toContain('pg_terminate_backend(7)');
  });

  test('that clocks differ, LISTEN is deaf, and a secret was typed', () => {
    expect(
      levels(
        judge.judgeClock(well),
        judge.judgeClock({ ...well, clockAheadMs: -3_000 }),
        judge.judgeClock({ ...well, clockAheadMs: 90_000 }),
      ),
    ).toEqual(['ok', 'warn', 'bad']);
    const chosen = {
      ...parseConnection('postgres://u@127.0.0.1/db'),
      kind: 'given' as const,
      url: '',
      stop: async () => {},
    };
    expect(
      levels(
        judge.judgeConnection(chosen, well),
        judge.judgeConnection(chosen, { ...well, hears: false }),
        judge.judgeConnection({ ...chosen, direct: false }, { ...well, hears: false }),
      ),
    ).toEqual(['ok', 'warn', 'ok']);
    expect(judge.judgeSecrets({ OPS_API_KEY: 'abababab'.repeat(5), CRON_SECRET: undefined })).toEqual([
      expect.stringContaining('OPS_API_KEY is weak'),
    ]);
    expect(judge.judgeSecrets({ OPS_API_KEY: '9f86d081884c7d659a2feaa0c55ad015' })).toEqual([]);
  });
});

describe('on a server', () => {
  const database = useDatabase();

  test('it reads its figures, hears itself, and sees who holds a transaction open', async () => {
    const holder = await database.connect();
    await holder.query('begin; select 1');
    const vitals = await readVitals({ connectionString: database.url });
    expect(vitals).toMatchObject({ hears: true, oldest_seconds: expect.any(Number) });
    expect(Math.abs(vitals.clockAheadMs)).toBeLessThan(1_000);
    expect(vitals.tables.map(({ name }) => name)).toContain('ops_mission_steps');
    await holder.query('rollback');
  });

  test('each line says ok, warn or bad; a policy that became wrong is bad', async () => {
    await database.sql("delete from ops_executors where name = 'radar'");
    await database.sql(
      "alter table ops_policy disable trigger user; update ops_policy set value = '{\"nonsense\": 1}' where key = 'proposal_caps'",
    );
    const env = { DATABASE_URL: database.url, OPS_API_KEY: 'x'.repeat(40), OPS_LOG_LEVEL: 'fatal' };
    const { code, stdout } = await runCli(['doctor', '--json'], { env });
    const { checks } = JSON.parse(stdout) as {
      checks: { check: string; level: string; findings: string[] }[];
    };
    expect(code).toBe(1);
    const of = (name: string) => checks.find(({ check }) => check === name);
    expect(checks.map(({ check }) => check)).toEqual([
      'versions',
      'health',
      'heartbeat',
      'queue',
      'connection',
      'transactions',
      'bloat',
      'clock',
      'migrations',
      'policies',
      'schedules',
      'invariants',
      'keys',
      'executors',
    ]);
    expect(of('connection')).toMatchObject({ level: 'ok', findings: ['direct, and LISTEN works'] });
    expect(of('policies')).toMatchObject({
      level: 'bad',
      findings: expect.arrayContaining([expect.stringContaining('proposal_caps')]),
    });
    expect(of('keys')).toMatchObject({
      level: 'bad',
      findings: [expect.stringContaining('OPS_API_KEY is weak')],
    });
  });
});
