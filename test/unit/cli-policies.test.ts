/** `ops-loop policy`: simulate, test, diff, export and apply, through the real command. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseExact } from '../../supabase/client/json-text.js';
import { differences, merge } from '../../supabase/client/policy-files.js';
import { callCli, runCli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';

const db = useDatabase();
let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'ops-loop-policies-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

const run = (...args: string[]) => callCli(['policy', ...args], { DATABASE_URL: db.url });
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
    // As it is called, in a process of its own.
    const { code, stdout } = await runCli(['policy', 'test', 'supabase/seed.fixtures.json'], {
      env: { DATABASE_URL: db.url },
    });
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

  test('name the step that was edited, and the place in a long text', async () => {
    const long = 'Look at the report of the day, and at that of the day before, and say in one sentence ';
    const matrix = (ms: number, word: string) => ({
      patterns: [
        {
          ...pattern('stepped'),
          template: {
            title: 'stepped',
            steps: [
              { key: 'look', kind: 'noop', params: { echo: `${long}${word} differs` } },
              { key: 'rest', kind: 'noop', params: { sleep_ms: ms, list: [1, 2, 3] } },
            ],
          },
        },
      ],
    });
    const [one, two] = [
      await file('one.json', matrix(20_000, 'what')),
      await file('two.json', matrix(20_001, 'which')),
    ];
    const steps = '$.patterns[stepped].template.steps';
    expect((await json('diff', 'reaction_matrix', one, two)).differences).toEqual([
      { path: `${steps}[look].params.echo`, before: `${long}what differs`, after: `${long}which differs` },
      { path: `${steps}[rest].params.sleep_ms`, before: 20_000, after: 20_001 },
    ]);
    const { stdout } = await run('diff', 'reaction_matrix', one, two);
    expect(stdout).toMatch(/\[rest\]\.params\.sleep_ms +20000 +20001$/m);
    expect(stdout).toMatch(/….* sentence what differs" +….* sentence which differs"$/m);
  });

  test('replace the steps of a pattern as a whole, though a difference tells them apart', async () => {
    const recipe = (...keys: string[]) => ({
      title: 't',
      policies: {
        reaction_matrix: {
          patterns: [
            {
              id: 'whole',
              event_type: 'thing:whole',
              template: { title: 'w', steps: keys.map((key) => ({ key, kind: 'noop' })) },
            },
          ],
        },
      },
    });
    for (const keys of [
      ['a', 'b'],
      ['b', 'c'],
    ]) {
      expect((await run('apply', await file('recipe.json', recipe(...keys)))).code).toBe(0);
      const { value } = await json('get', 'reaction_matrix');
      const { template } = value.patterns.find(({ id }: { id: string }) => id === 'whole');
      expect(template.steps.map(({ key }: { key: string }) => key)).toEqual(keys);
    }
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

describe('numbers', () => {
  const echo = '{patterns,0,template,steps,0,params,echo}';
  const store = (value: string) =>
    db.sql(
      `update ops_policy set value = jsonb_set(value, '${echo}', '${value}') where key = 'reaction_matrix'`,
    );
  const stored = async () => {
    const row = await db.one(
      "select value::text as text, version from ops_policy where key = 'reaction_matrix'",
    );
    return { text: String(row.text), version: Number(row.version) };
  };
  const exported = async (name: string) => {
    const directory = join(home, name);
    expect(await run('export', directory)).toMatchObject({ code: 0 });
    const path = join(directory, 'reaction_matrix.json');
    return { directory, path, text: await readFile(path, 'utf8') };
  };

  test('of any length, scale and size go to files and back, and nothing is written', async () => {
    // What PostgreSQL keeps and a double does not: whole, with its zeros, beyond its range, and below it.
    const zeros = '0'.repeat(400);
    const numbers = ['12345678901234567890', '1.50', '-0.1234567890123456789', `1${zeros}`, `0.${zeros}7`];
    await store(`[${numbers}]`);
    const before = await stored();
    const { directory, path, text } = await exported('numbers');
    expect(
      text
        .match(/"echo": \[([^\]]*)/)?.[1]
        ?.split(',')
        .map((number) => number.trim()),
    ).toEqual(numbers);
    expect((await run('apply', directory)).stdout).toBe('nothing differs\n');
    expect(await stored()).toEqual(before);

    await store('0');
    expect((await run('apply', path)).stdout).toContain('reaction_matrix is at version');
    expect((await stored()).text).toBe(before.text);
    expect((await exported('again')).text).toBe(text);
  });

  test('stay through set, get, diff, simulate, rollback and a recipe for something else', async () => {
    const [number, other] = ['12345678901234567890', '12345678901234567891'];
    const draft = `{"patterns": [{"id": "n", "event_type": "thing:seen", "where": "$.data.id == ${number}",
      "template": {"title": "n", "steps": [{"kind": "noop", "params": {"echo": ${number}}}]}}]}`;
    expect((await run('set', 'reaction_matrix', draft)).code).toBe(0);
    const { version, text } = await stored();
    expect(text).toContain(`"echo": ${number}`);
    expect((await run('get', 'reaction_matrix')).stdout).toContain(`"echo": ${number}`);
    expect((await run('get', 'reaction_matrix', '--json')).stdout).toContain(`"echo":${number}`);

    await store(other);
    const diff = await run('diff', 'reaction_matrix', String(version));
    expect(diff.stdout).toMatch(new RegExp(`echo +${number} +${other}|${number}.*${other}`));

    const events = [number, other].map((id) => `{"type": "thing:seen", "data": {"id": ${id}}}`);
    const simulated = await json('simulate', draft, '--events', `[${events}]`);
    expect(simulated.draft.patterns).toEqual({ n: { fired: 1, unmatched: 1 } });

    expect((await run('rollback', 'reaction_matrix', String(version))).code).toBe(0);
    expect((await stored()).text).toBe(text);
    const recipe = await file('more.json', {
      title: 'more',
      policies: { reaction_matrix: { patterns: [pattern('m')] } },
    });
    expect((await run('apply', recipe)).code).toBe(0);
    expect((await stored()).text).toContain(`"echo": ${number}`);
  });

  test('beyond what the database stores are refused with their path', async () => {
    const value =
      '{"patterns": [{"id": "n", "event_type": "a", "template": {"title": "n", "steps": [{"kind": "noop", "params": {"echo": 1e-20000}}]}}]}';
    expect(await run('set', 'reaction_matrix', value)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /OPS_008 .*\$\.patterns\[0\]\.template\.steps\[0\]\.params\.echo[\s\S]*quotes/,
      ),
    });
  });
});

test('apply says what it writes, also when only the order of patterns differs', async () => {
  const at = async (...ids: string[]) =>
    file('reaction_matrix.json', { patterns: ids.map((id) => pattern(id)) });
  await run('apply', await at('a', 'b'));
  const { stdout } = await run('apply', await at('b', 'a'));
  expect(stdout).toMatch(/\$\.patterns\[\]\.id +\["a","b"\] +\["b","a"\]/);
  expect(stdout).toContain('reaction_matrix is at version');
});

describe('policy test refuses', () => {
  test.each<[string, unknown, string]>([
    ['no type', {}, '$[0].event.type'],
    ['a type that is no text', { type: 5 }, '$[0].event.type'],
    ['data that are no object', { type: 'a', data: 'text' }, '$[0].event.data'],
    ['a trust that there is not', { type: 'a', trust: 'wat' }, '$[0].event.trust'],
  ])('an event with %s', async (_, event, path) => {
    const fixtures = await file('odd.json', [{ name: 'odd', event, expect: {} }]);
    const { code, stderr } = await run('test', fixtures);
    expect([code, stderr]).toEqual([2, expect.stringContaining(path)]);
    expect(stderr).toContain('An event is {"type"');
    expect(await run('simulate', '--events', JSON.stringify([event]))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(path.replace('.event', '')),
    });
  });

  test('to be green about nothing', async () => {
    const empty = await file('empty.json', []);
    expect(await run('test', empty)).toMatchObject({ code: 2, stderr: expect.stringContaining('empty') });
    expect(await run('test', home)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('fixtures.json'),
    });
  });
});

test('a directory with a file that would be passed over is refused, and named', async () => {
  const directory = join(home, 'typo');
  await mkdir(directory);
  const put = (name: string, value: object) => writeFile(join(directory, name), JSON.stringify(value));
  await put('proposal_cap.json', { daily_limit: 1 });
  await put('fixtures.json', []);
  await put('auto_approve.json', { enabled: false });
  const before = await db.sql('select * from ops_policy order by key');
  expect(await run('apply', directory)).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/proposal_cap\.json would be passed over.*no policy[\s\S]*proposal_caps/),
  });
  await put('recipe.json', { title: 'r', policies: {} });
  expect((await run('apply', directory)).stderr).toMatch(/auto_approve\.json.*with a recipe\.json/);
  expect(await db.sql('select * from ops_policy order by key')).toEqual(before);
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
  expect(differences(parseExact('[1.0, 1e2, 0.10]'), [1, 100, 0.1])).toEqual([]);
  expect(differences([{ id: '2' }, { id: '1' }], [{ id: '1' }, { id: '2' }])).toEqual([
    { path: '$[].id', before: ['2', '1'], after: ['1', '2'] },
  ]);
  expect(differences([], {})).toHaveLength(1);
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
