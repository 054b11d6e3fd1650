/** Keeps the beginning and the end of an output of any length, in memory that does not grow. */

export type Kept = {
  /** All of it when nothing was left out. */
  head: Buffer;
  tail: Buffer;
  /** All that came. */
  bytes: number;
};
export type Keeper = { write(chunk: Buffer): void; kept(): Kept };

/** `limit`: bytes, half of them for the beginning. */
export function keepEnds(limit: number): Keeper {
  const half = Math.max(1, Math.floor(limit / 2));
  const head: Buffer[] = [];
  const ring = createRing(half);
  let bytes = 0;
  return {
    write(chunk) {
      const room = Math.max(0, half - bytes);
      // A copy: a part of a chunk would hold on to all of it.
      if (room > 0) head.push(Buffer.from(chunk.subarray(0, room)));
      if (chunk.length > room) ring.write(chunk.subarray(room));
      bytes += chunk.length;
    },
    kept() {
      const parts = [Buffer.concat(head), ring.read()] as const;
      if (parts[0].length + parts[1].length < bytes) return { head: parts[0], tail: parts[1], bytes };
      return { head: Buffer.concat(parts), tail: Buffer.alloc(0), bytes };
    },
  };
}

/** The last `size` bytes that were written. */
function createRing(size: number) {
  let ring: Buffer | undefined;
  let written = 0;
  return {
    write(chunk: Buffer): void {
      ring ??= Buffer.allocUnsafe(size);
      const last = chunk.subarray(-size);
      const at = (written + chunk.length - last.length) % size;
      const fits = last.copy(ring, at);
      last.copy(ring, 0, fits);
      written += chunk.length;
    },
    read(): Buffer {
      if (ring === undefined) return Buffer.alloc(0);
      const at = written % size;
      if (written <= size) return Buffer.from(ring.subarray(0, written));
      return Buffer.concat([ring.subarray(at), ring.subarray(0, at)]);
    },
  };
}
