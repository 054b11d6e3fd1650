/**
 * JSON as somebody wrote it, for a `jsonb` argument or a place within one: what JavaScript would round, such as an id
 * beyond 2^53, reaches the database digit by digit.
 */
import { randomUUID } from 'node:crypto';

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

type Collector = { mark: string; texts: string[]; take(part: JsonText): string };
/** Set while `stringify` runs, which nothing can interrupt. */
let collector: Collector | undefined;

/** Like `JSON.stringify`, with every `JsonText` in its own words. */
export function stringify(value: unknown): string {
  const used = createCollector();
  collector = used;
  try {
    const text = JSON.stringify(value);
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
