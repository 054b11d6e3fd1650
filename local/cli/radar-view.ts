/** Signals of the demand radar for people. What senders said is shown on one line, cut, and never acted on. */
import type { z } from 'zod';
import type * as out from '../../supabase/client/schemas/rows.js';
import type { Output } from './output.js';
import { oneLine, table } from './output.js';
import { relativeTime } from './times.js';

type Signal = z.infer<typeof out.RadarSignal>;
type Detail = z.infer<typeof out.RadarDetail>;

const right = (name: string) => ({ name, align: 'right' as const });

export function renderSignals(signals: Signal[], { paint, now }: Output): string {
  if (signals.length === 0) return 'nothing on the radar';
  const rows = signals.map((s) => [
    s.id,
    s.score,
    s.mentions,
    s.sources,
    s.stage,
    relativeTime(s.last_seen_at, now()),
    oneLine(s.title, 70),
  ]);
  const columns = ['id', right('score'), right('mentions'), right('sources'), 'stage', 'last heard', 'title'];
  return table(columns, rows, paint);
}

export function renderSignal(signal: Detail, output: Output): string {
  const facts = table(['what', 'of this signal'], factsOf(signal, output), output.paint);
  const mentions = renderEvidence(signal, output);
  return [output.paint('bold', oneLine(signal.title, 200)), facts, mentions].join('\n\n');
}

function factsOf(signal: Detail, { now }: Output): string[][] {
  const when = (iso: string): string => relativeTime(iso, now());
  const pairs: [string, string | null][] = [
    ['id', signal.id],
    ['stage', stageLine(signal, when)],
    ['may go to', signal.next.join(', ') || 'nowhere'],
    ['merged into', signal.merged_into],
    ['score', `${signal.score} with weight ${signal.weight}`],
    [
      'mentions',
      `${signal.mentions}, first ${when(signal.first_seen_at)}, last ${when(signal.last_seen_at)}`,
    ],
    ['sources', oneLine(signal.sources.join(', '), 100)],
    ['tags', oneLine(signal.tags.join(', '), 100)],
    ['dedupe key', oneLine(signal.dedupe_key, 100)],
    ['description', oneLine(signal.description ?? '', 300)],
  ];
  return pairs.flatMap(([name, value]) => (value === null || value === '' ? [] : [[name, value]]));
}

function stageLine(signal: Detail, when: (iso: string) => string): string {
  const { stage, moved_at, moved_by, move_reason } = signal;
  if (moved_at === null) return stage;
  const because = move_reason === null ? '' : `: ${oneLine(move_reason, 100)}`;
  return `${stage}, ${when(moved_at)} by ${moved_by ?? 'nobody'}${because}`;
}

/** How many of the latest mentions are shown; `--json` has all that are kept. */
const shownMentions = 10;

function renderEvidence({ evidence, mentions }: Detail, { paint, now }: Output): string {
  const latest = evidence.slice(-shownMentions).reverse();
  if (latest.length === 0) return 'no mention was kept';
  const text = (value: unknown): string =>
    value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value);
  const rows = latest.map(({ at, source, by, link, data }) => [
    relativeTime(typeof at === 'string' ? at : null, now()),
    oneLine(text(source), 20),
    oneLine(text(by), 20),
    oneLine(text(link), 80),
    oneLine(text(data), 80),
  ]);
  const shown = table(['heard', 'source', 'by', 'link', 'said'], rows, paint);
  const left = mentions - latest.length;
  return left > 0 ? `${shown}\n${paint('dim', `and ${left} earlier`)}` : shown;
}
