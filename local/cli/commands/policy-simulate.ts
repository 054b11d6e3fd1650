import type { Command } from 'commander';
import { z } from 'zod';
import { type Coming, comingSlots } from '../../../supabase/client/coming.js';
import { exactDocument, exactJson } from '../../../supabase/client/json-text.js';
import type { OpsPort } from '../../../supabase/client/port.js';
import { type Simulation, simulate } from '../../../supabase/client/simulation.js';
import { policyKeys } from '../../../supabase/client/terms.js';
import { ago } from '../arguments.js';
import type { Bind } from '../command.js';
import { usageError } from '../context.js';
import { eventForm, problemsWithPaths, TimedEvent } from '../given-events.js';
import { type Output, table } from '../output.js';
import { readPolicyJson } from '../policy-json.js';
import { applied, keysOf, type Policies, Recipe, readLive } from '../policy-sources.js';
import { startProgress } from '../progress.js';
import { relativeTime } from '../times.js';

type Options = { since: Date; until?: Date; events?: string };
const Drafts = z.partialRecord(z.enum(policyKeys), exactJson);
const right = (name: string) => ({ name, align: 'right' as const });

export function addSimulate(policy: Command, bind: Bind): void {
  policy
    .command('simulate')
    .description('say what a draft would do with events that have happened; writes nothing')
    .argument(
      '[draft]',
      'a file or JSON: a reaction matrix, {policy key: value}, or a recipe, which is merged into the live ones; without one today’s policies are held against what was decided',
    )
    .option('--since <time>', 'from then on: 7d, 12h, 30m, or a time', ago, ago('1d'))
    .option('--until <time>', 'up to then', ago)
    .option('--events <json>', 'these events instead of stored ones: a list, @file, or - for stdin')
    .action(
      bind(async ({ out, connect }, draft: string | undefined, { since, until, events }: Options) => {
        const given = events === undefined ? undefined : await readEvents(events);
        const { port } = await connect();
        const drafts = draft === undefined ? {} : await readDrafts(draft, port);
        const progress = startProgress(out, 'events');
        const simulation = await simulate(port, {
          drafts,
          ...(given
            ? { events: given }
            : { since: since.toISOString(), ...(until && { until: until.toISOString() }) }),
          onPage: (seen) => progress.to(seen, seen),
        }).finally(() => progress.end());
        const schedules = await comingSlots(port, { drafts, now: out.now() });
        out.show({ ...simulation, schedules }, () =>
          [render(simulation, out), comingLines(schedules, out)].filter((part) => part !== '').join('\n\n'),
        );
      }),
    );
}

async function readEvents(given: string): Promise<z.infer<typeof TimedEvent>[]> {
  const { data, error } = z.array(TimedEvent).safeParse(await readPolicyJson(given, 'the events'));
  if (error) throw usageError(`the events: ${problemsWithPaths(error)}`, eventForm);
  return data;
}

/** A bare matrix is the draft that people have most often; a recipe is what it would make of the live policies. */
async function readDrafts(given: string, port: OpsPort): Promise<Policies> {
  const isPath = !/^[[{@-]/.test(given);
  const draft = exactDocument.parse(await readPolicyJson(isPath ? `@${given}` : given, 'the draft'));
  const recipe = Recipe.safeParse(draft);
  if (!recipe.success) return 'patterns' in draft ? { reaction_matrix: draft } : Drafts.parse(draft);
  const source = { merges: true, ...recipe.data };
  return applied(source, await readLive(port, keysOf(source)));
}

function render(simulation: Simulation, out: Output): string {
  const { events, live, draft, differences, recorded } = simulation;
  const head = `${events} events looked at; ${differences.starts} more would fire, ${differences.stops} would not any more`;
  const parts = [
    head,
    patternLines(live, draft, out),
    outcomeLines(live, draft, out),
    changeLines(simulation, out),
  ];
  if (recorded !== null && recorded.count > 0)
    parts.push(
      out.paint(
        'yellow',
        `${recorded.count} recorded decisions differ from what today's policies would decide: they were made under other versions.`,
      ),
    );
  return parts.filter((part) => part !== '').join('\n\n');
}

type Side = Simulation['live'];

function patternLines(live: Side, draft: Side, { paint }: Output): string {
  const ids = [...new Set([...Object.keys(live.patterns), ...Object.keys(draft.patterns)])].sort();
  if (ids.length === 0) return 'no pattern matches the type of any of them';
  const rows = ids.map((id) => {
    const [a, b] = [live.patterns[id] ?? {}, draft.patterns[id] ?? {}];
    return [id, a.fired ?? 0, b.fired ?? 0, b.suppressed ?? 0, b.unmatched ?? 0, b.failed ?? 0];
  });
  const columns = ['fires now', 'would fire', 'suppressed', 'unmatched', 'failed'].map(right);
  return table(['pattern', ...columns], rows, paint);
}

/** What a list costs that only a result will tell is not known before. */
const least = ({ open_lists }: Side) => (open_lists > 0 ? 'at least ' : '');

function outcomeLines(live: Side, draft: Side, { paint }: Output): string {
  const row = (name: string, side: Side) => [
    name,
    side.proposals,
    side.auto_approved,
    side.waiting,
    `${least(side)}$${side.usd.toFixed(2)}`,
    `${least(side)}${side.tokens.toLocaleString('en')}`,
  ];
  const columns = ['proposals', 'by themselves', 'for a person', 'cost at reserves', 'tokens'].map(right);
  return table(['policy', ...columns], [row('live', live), row('draft', draft)], paint);
}

function comingLines(coming: Coming[], { paint, now }: Output): string {
  if (coming.length === 0) return '';
  const rows = coming.map(({ schedule_id, event_type, slots, problem, fires }) => [
    schedule_id,
    problem ?? (slots.map((slot) => relativeTime(slot, now())).join(', ') || 'never'),
    event_type,
    fires.join(', ') || 'nothing',
  ]);
  return table(['schedule', 'comes', 'event', 'would fire'], rows, paint);
}

function changeLines({ differences }: Simulation, { paint }: Output): string {
  if (differences.count === 0) return '';
  const said = (side: { outcome: string; clause: string | null } | null) =>
    side === null ? 'not looked at' : side.clause === null ? side.outcome : `${side.outcome}: ${side.clause}`;
  const rows = differences.first
    .slice(0, 20)
    .map(({ event_id, type, pattern_id, live, draft }) => [
      event_id,
      type,
      pattern_id,
      said(live),
      said(draft),
    ]);
  const more = differences.count - rows.length;
  const lines = table(['event', 'type', 'pattern', 'live', 'draft'], rows, paint);
  return more > 0 ? `${lines}\n${paint('dim', `and ${more} more`)}` : lines;
}
