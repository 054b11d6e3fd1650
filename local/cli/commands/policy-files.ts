import { join } from 'node:path';
import type { Command } from 'commander';
import { type ExactJson, JsonText, stringify } from '../../../supabase/client/json-text.js';
import { setPoliciesOrAlarm } from '../../../supabase/client/policy.js';
import { type Difference, differences } from '../../../supabase/client/policy-files.js';
import type { OpsPort } from '../../../supabase/client/port.js';
import { type PolicyKey, policyKeys } from '../../../supabase/client/terms.js';
import type { Bind } from '../command.js';
import { type ExitCode, exitCodes } from '../exit-codes.js';
import { makeDirectory, writeText } from '../files.js';
import { type Output, oneLine, table } from '../output.js';
import { applied, keysOf, type Policies, readLive, readSource } from '../policy-sources.js';

export function addExport(policy: Command, bind: Bind): void {
  policy
    .command('export')
    .description('write every policy that is set to a file of its own, for git')
    .argument('[directory]', 'where to', 'policies')
    .action(
      bind(async ({ out, connect }, directory: string) => {
        const { port } = await connect();
        const live = (await readLive(port, policyKeys)).filter(({ value }) => value !== undefined);
        await makeDirectory(directory);
        for (const { key, value } of live)
          await writeText(join(directory, `${key}.json`), `${stringify(value, 2)}\n`);
        const written = live.map(({ key, version }) => ({ key, version }));
        out.show(
          { directory, written },
          () => `${written.map(({ key, version }) => `${key} ${version}`).join(', ')} → ${directory}`,
        );
      }),
    );
}

type Options = { dryRun?: boolean; reason?: string };
type Drift = { key: PolicyKey; differences: Difference[] };

export function addApply(policy: Command, bind: Bind): void {
  policy
    .command('apply')
    .description('set policies from files: what `export` wrote replaces, a recipe is merged in')
    .argument('<path>', 'a directory, a recipe.json, or a file named after a policy')
    .option('--dry-run', 'only show what would change')
    .option('--reason <text>', 'why; kept in the policy history')
    .action(
      bind(async ({ out, connect }, path: string, { dryRun, reason }: Options) => {
        const source = await readSource(path);
        const { port } = await connect();
        const live = await readLive(port, keysOf(source));
        const values = applied(source, live);
        const drift = live
          .map(({ key, value }) => ({ key, differences: differences(value, values[key]) }))
          .filter((changed) => changed.differences.length > 0);
        const versions = Object.fromEntries(live.map(({ key, version }) => [key, version]));
        const why = reason ?? (source.title === undefined ? undefined : `recipe: ${source.title}`);
        if (dryRun) return rehearse(port, drift, values, out);
        const { changed } = await setPoliciesOrAlarm(port, {
          values,
          versions,
          ...(why !== undefined && { reason: why }),
        });
        out.show({ drift, changed }, () => renderDrift(drift, changed, out));
        return exitCodes.ok;
      }),
    );
}

/** Shows the drift, and what would be refused, with the exit code of the refusal: a pipeline goes by it. */
async function rehearse(port: OpsPort, drift: Drift[], values: Policies, out: Output): Promise<ExitCode> {
  const problems = await problemsOf(port, drift, values);
  const ok = problems.every(({ severity }) => severity !== 'error');
  out.show({ drift, changed: [], problems }, () => {
    if (problems.length === 0) return renderDrift(drift, undefined, out);
    const rows = problems.map(({ severity, key, path, message, fix }) => [severity, key, path, message, fix]);
    const found = table(['severity', 'policy', 'path', 'problem', 'fix'], rows, out.paint);
    return `${renderDrift(drift, undefined, out)}\n\n${found}`;
  });
  return ok ? exitCodes.ok : exitCodes.usage;
}

async function problemsOf(port: OpsPort, drift: Drift[], values: Policies) {
  const lists = drift.map(async ({ key }) =>
    (await port.validatePolicy({ key, value: values[key] ?? null })).map((problem) => ({ key, ...problem })),
  );
  return (await Promise.all(lists)).flat();
}

/** What was set is said whether or not a difference was found; `jsonb` has the last word on what differs. */
function renderDrift(drift: Drift[], changed: { key: string; version: number }[] | undefined, out: Output) {
  if (drift.length === 0 && (changed === undefined || changed.length === 0)) return 'nothing differs';
  const lines = drift.map(({ key, differences: found }) => `${key}\n${differenceLines(found, out)}`);
  const end =
    changed === undefined
      ? out.paint('dim', 'nothing was set: this was a dry run')
      : changed.map(({ key, version }) => `${key} is at version ${version}`).join('\n');
  return [...lines, end].join('\n\n');
}

/** A difference a line: where, what it was, what it is. */
export function differenceLines(found: Difference[], { paint }: Output): string {
  const rows = found.map(({ path, before, after }) => [
    before === undefined
      ? paint('green', '+')
      : after === undefined
        ? paint('red', '-')
        : paint('yellow', '~'),
    path,
    ...sides(before, after),
  ]);
  return table(['', 'where', 'before', 'after'], rows, paint);
}

/** Characters of a value that are shown, and how many of them stand before the first that differs. */
const shown = 60;
const lead = 20;

/** Both values as text, from a little before the place where they begin to differ. */
function sides(before: ExactJson | undefined, after: ExactJson | undefined): string[] {
  const texts = [before, after].map((value) => (value === undefined ? '' : stringify(ordered(value))));
  const [one = '', other = ''] = texts;
  let from = 0;
  while (from < one.length && one[from] === other[from]) from++;
  const start = Math.max(...texts.map(({ length }) => length)) > shown ? Math.max(from - lead, 0) : 0;
  return texts.map((text) => (text === '' ? '' : oneLine(start > 0 ? `…${text.slice(start)}` : text, shown)));
}

/** With the members of objects by their names: a file and the database order them each in its own way. */
function ordered(value: ExactJson): ExactJson {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== 'object' || value === null || value instanceof JsonText) return value;
  const names = Object.keys(value).sort();
  return Object.fromEntries(names.map((name) => [name, ordered(value[name] ?? null)]));
}
