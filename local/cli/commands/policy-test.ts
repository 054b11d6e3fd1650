import { join } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import type { OpsPort } from '../../../supabase/client/port.js';
import type { Bind } from '../command.js';
import { usageError } from '../context.js';
import { exitCodes } from '../exit-codes.js';
import { isDirectory, pathOf } from '../files.js';
import { eventForm, GivenEvent, problemsWithPaths } from '../given-events.js';
import { table } from '../output.js';
import { readPolicyFile } from '../policy-json.js';
import { type Policies, readSource } from '../policy-sources.js';

/** An event, and what each pattern is to say about it: `fired`, or an outcome with its clause such as `unmatched:where`. */
export const Fixtures = z.array(
  z.strictObject({
    name: z.string(),
    event: GivenEvent,
    /** Patterns that are not named must not fire. */
    expect: z.record(z.string(), z.string()),
  }),
);
type Fixture = z.infer<typeof Fixtures>[number];
export type Verdict = { name: string; ok: boolean; expected: string; decided: string };

export function addTest(policy: Command, bind: Bind): void {
  policy
    .command('test')
    .description('hold fixtures (an event and its expected decisions) against their policies; writes nothing')
    .argument(
      '<path>',
      'a directory with fixtures.json beside its policies, or a fixtures file for the live ones',
    )
    .action(
      bind(async ({ out, connect }, path: string) => {
        const { fixtures, drafts } = await readFixtures(path);
        const { port } = await connect();
        const verdicts = await Promise.all(fixtures.map((fixture) => judge(port, drafts, fixture)));
        const failed = verdicts.filter(({ ok }) => !ok).length;
        out.show({ ok: failed === 0, verdicts }, () => {
          const rows = verdicts.map(({ name, ok, expected, decided }) => [
            ok ? out.paint('green', 'ok') : out.paint('red', 'differs'),
            name,
            ok ? '' : expected,
            ok ? '' : decided,
          ]);
          const end =
            failed === 0 ? `${verdicts.length} as expected` : `${failed} of ${verdicts.length} differ`;
          return `${table(['', 'fixture', 'expected', 'decided'], rows, out.paint)}\n${end}`;
        });
        return failed === 0 ? exitCodes.ok : exitCodes.failed;
      }),
    );
}

const fixtureForm = `A fixture is {"name": …, "event": {…}, "expect": {"<pattern>": "fired"}}, in a list. ${eventForm}`;

/** Throws a usage error for a file without fixtures, and for an event that could not be. */
export async function readFixtures(path: string): Promise<{ fixtures: Fixture[]; drafts: Policies }> {
  const hasPolicies = await isDirectory(pathOf(path));
  const file = hasPolicies ? join(path, 'fixtures.json') : path;
  const { data: fixtures, error } = Fixtures.safeParse(await readPolicyFile(file));
  if (error) throw usageError(`${file} holds no fixtures: ${problemsWithPaths(error)}`, fixtureForm);
  // Green without a trial would say what nobody has looked at.
  if (fixtures.length === 0) throw usageError(`${file} holds no fixtures: the list is empty`, fixtureForm);
  return { fixtures, drafts: hasPolicies ? (await readSource(path)).policies : {} };
}

/** Each event by itself: cooldowns and limits of one fixture say nothing about the next. */
export async function judge(
  port: OpsPort,
  drafts: Policies,
  { name, event, expect }: Fixture,
): Promise<Verdict> {
  const { decisions } = await port.simulate({ drafts, events: [event] });
  const decided = (decisions ?? [])
    .map(({ pattern_id, outcome, clause }) => ({
      pattern_id,
      said: expect[pattern_id]?.includes(':') ? `${outcome}:${clause}` : outcome,
    }))
    .filter(({ pattern_id, said }) => pattern_id in expect || said === 'fired');
  const describe = (pairs: [string, string][]) =>
    pairs
      .map(([pattern, said]) => `${pattern} ${said}`)
      .sort()
      .join(', ');
  const expected = describe(Object.entries(expect));
  const actual = describe(decided.map(({ pattern_id, said }) => [pattern_id, said]));
  return { name, ok: expected === actual, expected, decided: actual };
}
