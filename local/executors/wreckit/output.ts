/**
 * Reads what wreckit prints. Pure. Only `show`, `list` and `status` with `--json` are believed about items, because
 * there nobody else writes to stdout; what `run` and the phases print may come from the agent, so it only explains.
 */
import { z } from 'zod';
import { lastJson } from '../../process/last-json.js';

const words = z
  .string()
  .nullish()
  .transform((value) => value ?? null);
const Stories = z.object({ user_stories: z.array(z.object({ status: z.string() })) });
/** What `wreckit show --json` says (src/schemas.ts and src/commands/show.ts of wreckit 1.0.0), as far as we use it. */
const Shown = z.object({
  id: z.string().min(1),
  title: z.string().catch(''),
  state: z.string().min(1),
  branch: words,
  pr_url: words,
  pr_number: z
    .number()
    .nullish()
    .transform((value) => value ?? null),
  last_error: words,
  rollback_sha: words,
  completed_at: words,
  artifacts: z
    .object({
      research: z.boolean().catch(false),
      plan: z.boolean().catch(false),
      prd: Stories.nullish().catch(null),
    })
    .catch({ research: false, plan: false, prd: null }),
});

export const Item = z.object({
  id: z.string(),
  title: z.string(),
  state: z.string(),
  branch: z.string().nullable(),
  pr_url: z.string().nullable(),
  pr_number: z.number().nullable(),
  last_error: z.string().nullable(),
  rollback_sha: z.string().nullable(),
  completed_at: z.string().nullable(),
  research: z.boolean(),
  plan: z.boolean(),
  /** Null without a story list (prd.json). */
  stories: z.object({ done: z.number(), pending: z.number() }).nullable(),
});
export type Item = z.output<typeof Item>;

/** The item in the output of `show --json`; undefined when there is none. */
export function readItem(stdout: string): Item | undefined {
  const found = Shown.safeParse(lastJson(stdout, (value) => Shown.safeParse(value).success));
  if (!found.success) return undefined;
  const { artifacts, ...item } = found.data;
  const all = artifacts.prd?.user_stories;
  const done = all?.filter(({ status }) => status === 'done').length ?? 0;
  const stories = all === undefined ? null : { done, pending: all.length - done };
  return { ...item, research: artifacts.research, plan: artifacts.plan, stories };
}

const Listed = z.array(
  z.object({
    id: z.number(),
    fullId: z.string().min(1),
    state: z.string().min(1),
    title: z.string().catch(''),
  }),
);
const Answer = z.union([Listed, z.object({ items: Listed }).transform(({ items }) => items)]);

export const ListedItem = z.object({
  number: z.number(),
  id: z.string(),
  state: z.string(),
  title: z.string(),
});
export type ListedItem = z.output<typeof ListedItem>;

/** The items in the output of `status --json` or `list --json`; undefined when there is no such answer. */
export function readItems(stdout: string): ListedItem[] | undefined {
  const found = Answer.safeParse(lastJson(stdout, (value) => Answer.safeParse(value).success));
  return found.data?.map(({ id, fullId, ...rest }) => ({ number: id, id: fullId, ...rest }));
}

export type Said = { code: string | undefined; message: string };

/**
 * What wreckit said of its error, with the code when it has one: the last such line, for it prints its own last.
 * `next` ends with a line that has none; a code further up may be an agent's.
 */
export function readError(output: string): Said | undefined {
  const line = [...output.matchAll(/^ERROR: (.+)$/gm)].at(-1)?.[1];
  if (line === undefined) return undefined;
  const [, code, message] = /^\[([A-Z][A-Z_]+)\] (.+)$/.exec(line) ?? [];
  return { code, message: message ?? line };
}

/** The item that `next` took: it says so before any agent runs. */
export const readTaken = (stdout: string): string | undefined => /^Running: (\S+)$/m.exec(stdout)?.[1];

/** The items that `ideas` found to be there already. */
export function readSkipped(stdout: string): string[] {
  const [, below = ''] = /^Skipped \d+ existing items:\n((?: {2}\S.*(?:\n|$))+)/m.exec(stdout) ?? [];
  return below.split('\n').flatMap((line) => line.trim() || []);
}

export type Diagnosis = { errors: string[]; warnings: string[]; notes: string[] };

const marks = new Map<string, keyof Diagnosis>([
  ['✗', 'errors'],
  ['⚠', 'warnings'],
  ['ℹ', 'notes'],
]);
/** What comes after the findings. */
const rest = /^(Fixes applied:|Run with --fix )/m;

/** What `doctor` found; undefined when this is no answer of `doctor`. A finding may take several lines. */
export function readDiagnosis(stdout: string): Diagnosis | undefined {
  const found: Diagnosis = { errors: [], warnings: [], notes: [] };
  let list: string[] | undefined;
  for (const line of stdout.split(rest)[0]?.split('\n') ?? []) {
    const [, mark = '', text = ''] = /^ {2}(\S) (.+)$/.exec(line) ?? [];
    const kind = marks.get(mark);
    if (kind !== undefined) list = found[kind];
    if (kind !== undefined) list?.push(text.replace(/ \(fixable\)$/, ''));
    else if (/^(Errors|Warnings|Info) \(\d+\):$/.test(line)) list = undefined;
    else if (line.trim() !== '') list?.push(`${list.pop()} ${line.trim()}`);
  }
  const isAnswer =
    Object.values(found).some(({ length }) => length > 0) || /^✓ No issues found$/m.test(stdout);
  return isAnswer ? found : undefined;
}
