/**
 * What a template would run, in words for whoever approves it. Whatever changes what runs, how often, when or as whom
 * is said; a member that this page does not know yet stands there as it is.
 */
import { z } from 'zod';

/** Characters of one value that is shown as JSON; how many are left out is said. */
const shownCharacters = 2_000;
/** Items of a list when its step sets no `max` (docs/policies.md). */
const usualItems = 100;

export const ShownStep = z.object({
  key: z.string(),
  kind: z.string(),
  executor: z.string().optional(),
  /** What it is given, as JSON; of long ones the beginning. */
  params: z.string(),
  /** Sentences about the rest: how often, after what, on which condition, as whom. */
  terms: z.array(z.string()),
});
type ShownStep = z.infer<typeof ShownStep>;

const Step = z.looseObject({
  kind: z.string(),
  key: z.string().optional(),
  executor: z.string().optional(),
  params: z.json().optional(),
});
const Template = z.looseObject({ dry_run: z.json().optional(), steps: z.array(Step) });

/** The engine takes `true` alone for a dry run. */
export const isDryRun = (template: unknown): boolean => Template.safeParse(template).data?.dry_run === true;

/** A template of another form shows no step; the gates refuse it. */
export function shownSteps(template: unknown): ShownStep[] {
  const steps = Template.safeParse(template).data?.steps ?? [];
  const keys = steps.map(({ key }, n) => key ?? `step_${n + 1}`);
  return steps.map(({ key: _, kind, executor, params, ...rest }, n) => ({
    key: keys[n] ?? '',
    kind,
    executor,
    params: shortened(params ?? {}),
    terms: termsOf(rest, { before: keys[n - 1], role: roleOf(params) }),
  }));
}

type Around = { before: string | undefined; role: string | undefined };

function termsOf(rest: Record<string, unknown>, { before, role }: Around): string[] {
  const said: Record<string, (value: unknown) => string> = {
    for_each: repeated,
    when: (condition) => `Only when ${text(condition)}; else it is skipped.`,
    depends_on: after,
    on_failure: (what) =>
      what === 'continue' ? 'If it fails, the mission goes on.' : 'If it fails, the mission stops.',
    max_retries: (count) => `At most ${text(count)} attempts.`,
    timeout_seconds: (seconds) => `Ended after ${text(seconds)} s.`,
    priority: (priority) => `Priority ${text(priority)}; smaller runs first.`,
  };
  const named = { ...(before !== undefined && { depends_on: [before] }), on_failure: 'stop', ...rest };
  return [
    ...(role === undefined ? [] : [`As the role ${role}.`]),
    ...Object.entries(named).map(([name, value]) => said[name]?.(value) ?? `${name}: ${text(value)}`),
  ];
}

const after = (keys: unknown): string =>
  Array.isArray(keys) && keys.length > 0 ? `After ${keys.map(text).join(', ')}.` : 'Waits for no other step.';

const ForEach = z.object({ items: z.json(), max: z.number().optional() });

/** A list that is written out has its count; one that an earlier step finds has its bound. */
function repeated(value: unknown): string {
  const { data } = ForEach.safeParse(value);
  if (data === undefined) return `for_each: ${text(value)}`;
  const { items, max = usualItems } = data;
  if (!Array.isArray(items)) return `Once for each item of ${text(items)}: ${max} at most, more fail it.`;
  const count = `${items.length.toLocaleString('en')} ${items.length === 1 ? 'time' : 'times'}`;
  const bound = items.length > max ? ` That is more than its ${max} at most, so it fails.` : '';
  return `Runs ${count}, once for each of: ${text(items)}.${bound}`;
}

const roleOf = (params: unknown): string | undefined =>
  z.looseObject({ role: z.string() }).safeParse(params).data?.role;

const text = (value: unknown): string => (typeof value === 'string' ? value : shortened(value));

function shortened(value: unknown): string {
  const whole = JSON.stringify(value);
  const hidden = whole.length - shownCharacters;
  return hidden > 0 ? `${whole.slice(0, shownCharacters)} ... and ${hidden} more characters` : whole;
}
