/** Hands an output on line by line while it comes, for progress: bounded in length and in number. */
const maxLineChars = 4_096;
/** Bytes kept of a line that has not ended: more than is said of it, so that no secret is cut in two before it is found. */
const maxRest = 4 * maxLineChars;
/** Above this rate lines are left out: nobody reads them, and they would keep the worker from its work. */
const maxLines = 200;
const perMs = 1_000;

export type LineSplitter = { write(chunk: Buffer): void; end(): void };

/**
 * Calls `onLine` for each line that is not empty, after `clean`, without its end. A carriage return ends one too, as
 * progress bars write it. What `onLine` throws is ignored: whoever follows the progress must not end the run.
 */
export function splitLines(onLine: (line: string) => void, clean: (line: string) => string): LineSplitter {
  const rate = createRate();
  let rest: Buffer = Buffer.alloc(0);
  const say = (line: string) => {
    if (line === '' || !rate.take()) return;
    try {
      onLine(clean(line).slice(0, maxLineChars));
    } catch {}
  };
  const sayAll = (lines: Buffer) =>
    lines
      .toString()
      .split(/[\r\n]+/)
      .forEach(say);
  return {
    write(chunk) {
      const end = Math.max(chunk.lastIndexOf('\n'), chunk.lastIndexOf('\r')) + 1;
      if (end > 0 && !rate.isSpent()) sayAll(Buffer.concat([rest, chunk.subarray(0, end)]));
      if (end > 0) rest = Buffer.alloc(0);
      const room = maxRest - rest.length;
      if (room > 0) rest = Buffer.concat([rest, chunk.subarray(end, end + room)]);
    },
    end: () => sayAll(rest),
  };
}

/** So many in each window of time. */
function createRate() {
  let since = Number.NEGATIVE_INFINITY;
  let count = 0;
  const isSpent = (): boolean => {
    if (performance.now() - since >= perMs) [since, count] = [performance.now(), 0];
    return count >= maxLines;
  };
  const take = (): boolean => !isSpent() && ++count > 0;
  return { isSpent, take };
}
