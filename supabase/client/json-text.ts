/**
 * JSON whose numbers stay as somebody wrote them, digit by digit, on the way to `jsonb` and back. JavaScript reads a
 * number as a double: it rounds an id beyond 2^53, and forgets that `1.50` was not `1.5`. What it would not write again
 * as it was is kept as a `JsonText`.
 */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';

/** Holds one valid JSON text. To anything but `stringify` it is the value that the text stands for. */
export class JsonText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toJSON(): unknown {
    return collector === undefined ? JSON.parse(this.text) : collector.take(this);
  }
}

/** A document as `parseExact` reads it. */
export type ExactJson =
  | string
  | number
  | boolean
  | null
  | JsonText
  | ExactJson[]
  | { [name: string]: ExactJson };

export const exactJson: z.ZodType<ExactJson> = z.lazy(() =>
  z.union([z.instanceof(JsonText), z.json(), z.array(exactJson), exactDocument]),
);
export const exactDocument = z.record(z.string(), exactJson);

/** Like `JSON.parse`, with a `JsonText` for each number that `JSON.stringify` would write otherwise. */
export function parseExact(text: string): ExactJson {
  // The whole of it first: what is put in for a number must not make JSON of what is none.
  const rounded = JSON.parse(text);
  const mark = randomUUID();
  const kept: JsonText[] = [];
  let marked = '';
  let end = 0;
  for (const { at, number } of numbersIn(text)) {
    if (JSON.stringify(Number(number)) === number) continue;
    marked += `${text.slice(end, at)}"${mark}:${kept.push(new JsonText(number)) - 1}"`;
    end = at + number.length;
  }
  if (kept.length === 0) return rounded;
  return JSON.parse(marked + text.slice(end), (_, value) =>
    typeof value === 'string' && value.startsWith(mark) ? kept[Number(value.slice(mark.length + 1))] : value,
  );
}

/** A document as JavaScript reads JSON, for code that reckons with what is in it. */
export const rounded = (value: ExactJson): z.core.util.JSONType => JSON.parse(JSON.stringify(value));

/** The numbers of a valid JSON text as they are written, in their order. */
export function* numbersIn(text: string): Generator<{ at: number; number: string }> {
  const token = /[-+.\deE]+/y;
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? '';
    if (char === '"') at = endOfString(text, at);
    else if (char === '-' || (char >= '0' && char <= '9')) {
      token.lastIndex = at;
      const [number = char] = token.exec(text) ?? [];
      yield { at, number };
      at += number.length - 1;
    }
  }
}

/** Place of the quote that ends the string which begins at `start`. */
export function endOfString(text: string, start: number): number {
  let i = start + 1;
  while (i < text.length && text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
  return i;
}

type Collector = { mark: string; texts: string[]; take(part: JsonText): string };
/** Set while `stringify` runs, which nothing can interrupt. */
let collector: Collector | undefined;

/** Like `JSON.stringify`, with every `JsonText` in its own words. `indent` spaces a level, or all on one line. */
export function stringify(value: unknown, indent = 0): string {
  const used = createCollector();
  collector = used;
  try {
    const text = JSON.stringify(value, null, indent);
    if (used.texts.length === 0) return text;
    return text.replaceAll(
      new RegExp(`"${used.mark}:(\\d+)"`, 'g'),
      (_, n) => used.texts[Number(n)] ?? 'null',
    );
  } finally {
    collector = undefined;
  }
}

/** The mark is made after the value came in, so no value can hold it. */
function createCollector(): Collector {
  const texts: string[] = [];
  const mark: string = randomUUID();
  return { mark, texts, take: ({ text }) => `${mark}:${texts.push(text) - 1}` };
}
