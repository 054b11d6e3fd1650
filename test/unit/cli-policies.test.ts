/** `ops-loop policy`: simulate, test, diff, export and apply, through the real command. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { differences, merge } from '../../supabase/client/policy-files.js';
import { runCli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';

const db = useDatabase();
let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'ops-loop-policies-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

const run = (...args: string[]) => runCli(['policy', ...args], { env: { DATABASE_URL: db.url } });
const json = async (...args: string[]) => JSON.parse((await run(...args, '--json')).stdout);
const file = async (name: string, value: unknown): Promise<string> => {
  const path = join(home, name);
  await writeFile(path, JSON.stringify(value));
  return path;
};
const pattern = (id: string, more: object = {}) => ({
  id,
  event_type: 'thing:seen',
  template: { title: id, steps: [{ kind: 'noop' }] },
  ...more,
});

describe('policy simulate', () => {
  test('shows a draft beside the live policy, over stored events, and writes nothing', async () => {
    await db.sql('select ops_emit_events(\'[{"type": "demo:hello"}, {"type": "demo:hello"}]\')');
    const before = await db.sql('select * from ops_policy order by key');
    const draft = await file('draft.json', {
      patterns: [pattern('other', { event_type: 'demo:*', probability: 0 })],
    });
    const answer = await json('simulate', draft, '--since', '1h');
    expect(answer).toMatchObject({ events: 2, differences: { starts: 0, stops: 2 } });
    const { stdout } = await run('simulate', draft, '--since', '1h');
    expect(stdout).toContain('2 events looked at; 0 more would fire, 2 would not any more');
    expect(await db.sql('select * from ops_policy order by key')).toEqual(before);
  });

  test('takes events that never happened, and refuses a draft that could not be', async () => {
    const draft = JSON.stringify({ patterns: [pattern('p')] });
    const answer = await json('simulate', draft, '--events', '[{"type":"thing:seen"}]');
    expect(answer.draft.patterns).toEqual({ p: { fired: 1 } });
    const bad = await run('simulate', JSON.stringify({ patterns: [pattern('p', { where: '$[' })] }));
    expect(bad).toMatchObject({ code: 2, stderr: expect.stringContaining('$.patterns[0].where') });
  });
});

describe('a simulation of schedules', () => {
  const schedules = {
    schedules: [
      { id: 'nightly', cron: '0 3 * * *', time_zone: 'Europe/Berlin', event: { type: 'thing:seen' } },
      { id: 'off', enabled: false, cron: '* * * * *', event: { type: 'thing:seen' } },
    ],
  };

  test('shows the next slots, and what their events would fire', async () => {
    const draft = { schedules, reaction_matrix: { patterns: [pattern('p')] } };
    const { schedules: coming } = await json('simulate', JSON.stringify(draft));
    expect(coming).toMatchObject([{ schedule_id: 'nightly', event_type: 'thing:seen', fires: ['p'] }]);
    const hours = coming[0].slots.map((slot: string) =>
      new Date(slot).toLocaleString('en-GB', {
        timeZone: 'Europe/Berlin',
        hour: '2-digit',
        minute: '2-digit',
      }),
    );
    expect(hours).toEqual(['03:00', '03:00', '03:00']);
    const { stdout } = await run('simulate', JSON.stringify(draft));
    expect(stdout).toMatch(/nightly\s+in .+ thing:seen +p/);
  });
});

describe('policy test', () => {
  test('holds the seed’s own fixtures', async () => {
    const { code, stdout } = await run('test', 'supabase/seed.fixtures.json');
    expect(stdout).toContain('7 as expected');
    expect(code).toBe(0);
  });

  test('says what differs, and fails', async () => {
    const path = await file('wrong.json', [
      { name: 'silence', event: { type: 'demo:hello' }, expect: { hello: 'unmatched' } },
    ]);
    expect(await json('test', path)).toEqual({
      ok: false,
      verdicts: [{ name: 'silence', ok: false, expected: 'hello unmatched', decided: 'hello fired' }],
    });
    expect((await run('test', path)).code).toBe(1);
  });
});

describe('policy export, diff and apply', () => {
  test('take policies to files and back, and show what drifted', async () => {
    const directory = join(home, 'exported');
    await run('export', directory);
    expect(JSON.parse(await readFile(join(directory, 'reaction_matrix.json'), 'utf8')).patterns[0].id).toBe(
      'hello',
    );
    expect(await json('apply', directory)).toEqual({ drift: [], changed: [] });
    await db.sql(
      "update ops_policy set value = value || '{\"hourly_limit\": 3}' where key = 'proposal_caps'",
    );
    const drift = [
      { key: 'proposal_caps', differences: [expect.objectContaining({ path: '$.hourly_limit', before: 3 })] },
    ];
    expect(await json('apply', directory, '--dry-run')).toEqual({ drift, changed: [], problems: [] });
    const applied = await json('apply', directory, '--reason', 'as in git');
    expect(applied.changed).toEqual([{ key: 'proposal_caps', version: expect.any(Number) }]);
    const { version } = applied.changed[0];
    expect((await json('diff', 'proposal_caps', String(version - 1))).differences).toMatchObject([
      { path: '$.hourly_limit', before: 3 },
    ]);
    expect((await json('history', 'proposal_caps'))[0]).toMatchObject({ reason: 'as in git' });
  });

  test('merge a recipe into what is there', async () => {
    const recipe = await file('recipe.json', {
      title: 'things',
      policies: {
        reaction_matrix: { patterns: [pattern('things'), { id: 'hello', name: 'renamed' }] },
        auto_approve: { kind_risk: { http: 'high' } },
      },
    });
    const { drift } = await json('apply', recipe);
    expect(drift.map(({ key }: { key: string }) => key).sort()).toEqual(['auto_approve', 'reaction_matrix']);
    const { value } = await json('get', 'reaction_matrix');
    expect(value.patterns.map(({ id }: { id: string }) => id)).toEqual(
      expect.arrayContaining(['hello', 'issue-triage', 'things']),
    );
    expect(value.patterns.find(({ id }: { id: string }) => id === 'hello')).toMatchObject({
      name: 'renamed',
      event_type: 'demo:*',
    });
    expect((await json('apply', recipe)).drift).toEqual([]);
  });

  test('set all or none, and leave the refusal as an alarm', async () => {
    const recipe = await file('bad-recipe.json', {
      title: 'half bad',
      policies: {
        auto_approve: { daily_limit: 5 },
        reaction_matrix: { patterns: [pattern('x', { where: '$[' })] },
      },
    });
    expect(await run('apply', recipe)).toMatchObject({ code: 2, stderr: expect.stringContaining('where') });
    // A dry run foresees it, and leaves no alarm.
    const rehearsed = await run('apply', recipe, '--dry-run', '--json');
    expect([rehearsed.code, JSON.parse(rehearsed.stdout)]).toEqual([
      2,
      expect.objectContaining({
        changed: [],
        problems: [
          expect.objectContaining({ key: 'reaction_matrix', path: expect.stringContaining('where') }),
        ],
      }),
    ]);
    expect((await json('get', 'auto_approve')).value.daily_limit).toBe(500);
    expect(await db.sql("select from ops_agent_events where type = 'policy:refused'")).toHaveLength(1);
  });

  test('refuse what is no policy, with the way out', async () => {
    const path = await file('notes.json', { hello: 'you' });
    expect(await run('apply', path)).toMatchObject({ code: 2, stderr: expect.stringContaining('recipe') });
    expect(await run('apply', join(home, 'nowhere'))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('relative to'),
    });
    expect(await run('test', path)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('no fixtures'),
    });
    expect(await run('test', join(home, 'nowhere'))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('cannot read the file'),
    });
    expect(await run('diff', 'proposal_caps', '999')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('never had version 999'),
    });
  });

  test('refuse to write over a change that came in between', async () => {
    await expect(
      db.sql('select ops_apply_policies(\'{"proposal_caps": {}}\', \'{"proposal_caps": 1}\')'),
    ).rejects.toMatchObject({ code: 'OP015' });
  });
});

test('documents differ by path, and lists by id', () => {
  expect(differences({ a: [1, 2] }, { a: [1, 3], b: true })).toEqual([
    { path: '$.a', before: [1, 2], after: [1, 3] },
    { path: '$.b', before: undefined, after: true },
  ]);
  expect(differences([{ id: 'x', n: 1 }], [{ id: 'y' }, { id: 'x', n: 2 }])).toEqual([
    { path: '$[y]', before: undefined, after: { id: 'y' } },
    { path: '$[x].n', before: 1, after: 2 },
  ]);
  expect(differences({ a: 1, b: 2 }, { b: 2, a: 1 })).toEqual([]);
  expect(
    merge(
      { list: [{ id: 'x', n: 1, m: 1 }], o: { a: 1 } },
      { list: [{ id: 'x', n: 2 }, { id: 'z' }], o: { b: 2 } },
    ),
  ).toEqual({
    list: [{ id: 'x', n: 2, m: 1 }, { id: 'z' }],
    o: { a: 1, b: 2 },
  });
});
