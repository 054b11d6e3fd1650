/**
 * Patterns over values of steps, matched in time that no value can blow up: all ways through the pattern are followed
 * at once, as sets of places reached (Thompson, 1968), so nothing is ever tried again. The notation is that of regular
 * expressions without what needs more: no look-ahead or look-behind, no back-references, no word boundaries. A pattern
 * is about the whole value, with or without `^` and `$`.
 */

/** Places visited for one value: a tenth of a second. */
const maxVisits = 1_000_000;

type Part =
  | { kind: 'one'; test: RegExp }
  | { kind: 'sequence'; parts: Part[] }
  | { kind: 'choice'; parts: Part[] }
  | { kind: 'times'; part: Part; least: number; most: number };

/** Does the whole text match? Throws an `Error` that says why when the pattern is not valid, or too costly. */
export function matches(pattern: string, text: string): boolean {
  const chars = [...text];
  return after(parse(pattern), new Set([0]), { chars, visits: 0 }).has(chars.length);
}

type Places = ReadonlySet<number>;
type Walk = { readonly chars: readonly string[]; visits: number };

/** Where one can be behind the part, having been at these places before it. */
function after(part: Part, places: Places, walk: Walk): Set<number> {
  walk.visits += places.size + 1;
  if (walk.visits > maxVisits) throw new Error('it takes too long on such a value');
  switch (part.kind) {
    case 'one':
      return new Set([...places].filter((at) => part.test.test(walk.chars[at] ?? '')).map((at) => at + 1));
    case 'sequence':
      return part.parts.reduce((reached, next) => after(next, reached, walk), new Set(places));
    case 'choice':
      return new Set(part.parts.flatMap((choice) => [...after(choice, places, walk)]));
    default:
      return afterTimes(part, places, walk);
  }
}

function afterTimes(
  { part, least, most }: Part & { kind: 'times' },
  places: Places,
  walk: Walk,
): Set<number> {
  const found = new Set(least === 0 ? places : []);
  let reached = places;
  for (let times = 1; times <= most && reached.size > 0; times++) {
    reached = after(part, reached, walk);
    if (times < least) continue;
    reached = new Set([...reached].filter((at) => !found.has(at)));
    for (const at of reached) found.add(at);
  }
  return found;
}

/** One character: escaped, any of a class, or itself. Characters that mean something must be escaped to be themselves. */
const single = /\\p\{[^}]*\}|\\[dDwWsStnr\\^$.*+?()[\]{}|/-]|\[(?:\\.|[^\]\\])+\]|[^\\^$*+?()[\]{}|]/iuy;
const quantifier = /[*+?]|\{(\d{1,4})(?:(,)(\d{0,4}))?\}/y;

function parse(pattern: string): Part {
  const body = pattern.replace(/^\^/, '').replace(/(?<!\\)((?:\\\\)*)\$$/, '$1');
  const source = { text: body, at: 0 };
  const part = choice(source);
  if (source.at < body.length) throw new Error(`it has a ${body[source.at]} too many`);
  return part;
}

type Source = { text: string; at: number };

function choice(source: Source): Part {
  const parts = [sequence(source)];
  while (source.text[source.at] === '|') {
    source.at++;
    parts.push(sequence(source));
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : { kind: 'choice', parts };
}

function sequence(source: Source): Part {
  const parts: Part[] = [];
  while (source.at < source.text.length && !/[|)]/.test(source.text[source.at] ?? ''))
    parts.push(quantified(source, atom(source)));
  return { kind: 'sequence', parts };
}

function atom(source: Source): Part {
  if (source.text[source.at] === '(') return group(source);
  const found = take(source, single);
  if (found === undefined) throw new Error(`it has at ${source.at + 1} what is not supported`);
  return { kind: 'one', test: new RegExp(`^${found[0]}$`, 'su') };
}

function group(source: Source): Part {
  source.at += source.text.startsWith('(?:', source.at) ? 3 : 1;
  const part = choice(source);
  if (source.text[source.at++] !== ')') throw new Error('it has a ( that is not closed');
  return part;
}

function quantified(source: Source, part: Part): Part {
  const found = take(source, quantifier);
  if (found === undefined) return part;
  const [sign, least = '', comma, most = ''] = found;
  const unbounded = Number.POSITIVE_INFINITY;
  if (sign === '*') return { kind: 'times', part, least: 0, most: unbounded };
  if (sign === '+') return { kind: 'times', part, least: 1, most: unbounded };
  if (sign === '?') return { kind: 'times', part, least: 0, most: 1 };
  const upper = comma === undefined ? Number(least) : most === '' ? unbounded : Number(most);
  if (upper < Number(least)) throw new Error(`its ${sign} ends below where it begins`);
  return { kind: 'times', part, least: Number(least), most: upper };
}

function take(source: Source, what: RegExp): RegExpExecArray | undefined {
  what.lastIndex = source.at;
  const found = what.exec(source.text);
  if (found === null) return undefined;
  source.at = what.lastIndex;
  return found;
}
