/**
 * Finds the answer in the output of programs that also print logs, notices and progress to it. One pass marks every
 * pair of brackets that fits together; what stands inside of the outermost ones is then read, from the end.
 */

/** Nesting that is looked into; what is deeper could not be stored as part of a result. */
const maxDepth = 90;
/** Bracketed noise behind the answer that is tried in vain; a failed try costs some 20 µs. */
const maxTries = 1_000;

/**
 * The last JSON object or array in the text that `accepts` takes, `undefined` when there is none. Only whole values
 * are offered to it, never parts of one. Takes time in proportion to the text. Never throws.
 */
export function lastJson(text: string, accepts: (value: unknown) => boolean = () => true): unknown {
  const open = findSpans(text);
  let tries = 0;
  for (let span = open.pop(); span !== undefined && tries++ < maxTries; span = open.pop()) {
    const value = span.height > maxDepth ? undefined : jsonOf(text.slice(span.start, span.end));
    if (value !== undefined && accepts(value)) return value;
    // Brackets around noise may hold a value; those around a value that was refused hold only its parts.
    if (value === undefined && span.height <= maxDepth) for (const inner of span.inner) open.push(inner);
  }
  return undefined;
}

/** A pair of brackets: `text.slice(start, end)`. */
type Span = { start: number; end: number; height: number; inner: Span[] };
type Opened = Span & { closedBy: string };

/** The outermost spans in order. Where brackets do not fit, those that are open count as noise. */
function findSpans(text: string): Span[] {
  const spans: Span[] = [];
  let opened: Opened[] = [];
  const giveUp = () => {
    for (const { inner } of opened) for (const span of inner) spans.push(span);
    opened = [];
  };
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    // Outside of brackets a quotation mark is part of the noise, and so are brackets around one that is no string.
    if (char === '"' && opened.length > 0) {
      const end = endOfString(text, at);
      if (end === undefined) giveUp();
      else at = end;
    } else if (char === '{' || char === '[')
      opened.push({ start: at, end: 0, height: 1, inner: [], closedBy: char === '{' ? '}' : ']' });
    else if (char === '}' || char === ']') {
      if (opened.at(-1)?.closedBy === char) close(spans, opened, at + 1);
      else giveUp();
    }
  }
  giveUp();
  return spans;
}

function close(spans: Span[], opened: Opened[], end: number): void {
  const span = opened.pop();
  if (span === undefined) return;
  const around = opened.at(-1);
  if (around !== undefined) around.height = Math.max(around.height, span.height + 1);
  (around?.inner ?? spans).push({ ...span, end });
}

/** Where the string ends; nowhere if the line does, which JSON does not allow inside, or if no JSON follows. */
function endOfString(text: string, start: number): number | undefined {
  string.lastIndex = start;
  return string.test(text) ? string.lastIndex - 1 : undefined;
}
const string = /"[^"\\\n]*(?:\\.[^"\\\n]*)*"(?=\s*[,:\]}])/y;

/** The whole text as JSON; undefined where it is none. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
