/** Reads one output of a program while it comes. */
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { setTimeout as pause } from 'node:timers/promises';
import type { Cleaner } from './clean.js';
import { keepEnds } from './keep.js';
import { splitLines } from './lines.js';
import type { Captured } from './run.js';

/** When the last process that could write has ended, what is still in the pipe comes at once. */
const closedWithinMs = 1_000;

export type OutputOptions = {
  keepBytes: number;
  cleaner: Cleaner;
  onLine: ((line: string) => void) | undefined;
};

/** Reads from now on, in bounded memory; the answer waits for the end and gives what was kept. */
export function readOutput(stream: Readable, { keepBytes, cleaner, onLine }: OutputOptions) {
  const keeper = keepEnds(keepBytes);
  const lines = onLine && splitLines(onLine, cleaner.line);
  const ended = finished(stream).catch(() => {});
  stream.on('data', (chunk: Buffer) => {
    keeper.write(chunk);
    lines?.write(chunk);
  });
  return async (): Promise<Captured> => {
    await Promise.race([ended, pause(closedWithinMs, undefined, { ref: false })]);
    stream.destroy();
    lines?.end();
    const kept = keeper.kept();
    const truncated = kept.head.length < kept.bytes;
    return { text: cleaner.output(kept), bytes: kept.bytes, truncated };
  };
}
