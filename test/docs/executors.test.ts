/** docs/executors.md against the code: the table of executors, and the examples, checked and run as a newcomer would. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { projectRoot } from '../../local/env.js';
import { builtins } from '../../local/executors/builtin.js';
import { runCli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';

const page = readFileSync(join(projectRoot, 'docs/executors.md'), 'utf8');
const db = useDatabase();

test('the page lists every built-in executor with its traits, and has a section for each', () => {
  const rows = [
    ...page.matchAll(/^\| \[`([\w-]+)`\]\(#[\w-]+\) \| [^|]+ \| (yes|no) \| (\w+) \| ([\w, ]+) \|$/gm),
  ];
  const listed = rows.map(([, name, idempotent, risk, touches]) => ({ name, idempotent, risk, touches }));
  const real = builtins.map(({ name, traits }) => ({
    name,
    idempotent: traits.idempotent ? 'yes' : 'no',
    risk: traits.risk,
    touches: traits.touches?.join(', ') || 'nothing',
  }));
  const byName = (a: { name?: string | undefined }, b: { name?: string | undefined }) =>
    (a.name ?? '').localeCompare(b.name ?? '');
  expect(listed.sort(byName)).toEqual(real.sort(byName));
  for (const { name } of builtins) expect(page).toContain(`\n## \`${name}\`\n`);
});

describe('the examples', () => {
  test.each(['word-count', 'template'])('%s keeps the contract', async (name) => {
    const { code, stdout } = await runCli(['executor', 'test', `docs/examples/${name}.ts`, '--json']);
    expect(JSON.parse(stdout).verdicts.filter(({ ok }: { ok: boolean }) => !ok)).toEqual([]);
    expect(code).toBe(0);
  });

  test('word-count runs in a worker that loads it, and its result is handed on', async () => {
    const env = { DATABASE_URL: db.url, OPS_EXECUTORS: './docs/examples/word-count.ts' };
    expect(await runCli(['worker', '--once'], { env })).toMatchObject({ code: 0 });
    const steps = [
      { key: 'count', kind: 'word-count', params: { text: 'the longest word here' } },
      { key: 'say', kind: 'noop', params: { echo: '{{steps.count.result.longest}}' } },
    ];
    const { id } = await db.one<{ id: string }>("select (ops_create_proposal($1) ->> 'id')::uuid as id", [
      JSON.stringify({ title: 'count', steps }),
    ]);
    await db.sql("select ops_approve_proposal($1, 'ada')", [id]);
    expect(await runCli(['worker', '--once'], { env })).toMatchObject({ code: 0 });
    expect(await db.sql("select result ->> 'echo' as said from ops_mission_steps where key = 'say'")).toEqual(
      [{ said: 'longest' }],
    );
  });

  test('an executor that breaks the contract is told what is wrong', async () => {
    const { code, stdout } = await runCli(['executor', 'test', 'test/support/broken-executor.ts']);
    expect(code).toBe(1);
    expect(stdout).toContain('its params schema let them through');
    expect(stdout.match(/ends soon when it is \w+ +it had not ended/g)).toEqual([
      expect.stringContaining('ends soon when it is cancelled'),
    ]);
  });
});
