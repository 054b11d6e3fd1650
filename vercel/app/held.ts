/**
 * What the database said of a hash, kept for a moment. A key that is used often costs one look in `keptMs` and instance;
 * one that is revoked opens for as long at most. A no is never kept: a key works from the moment it is made.
 */

/** Longest that a revoked key or an ended session still opens on another instance. */
const keptMs = 30_000;

type Holder = { lives_seconds: number | null };
type Kept<T> = { holder: T; until: number };

export type Held<T> = {
  /** The holder, or null. Throws what `look` throws. */
  of(hash: string): Promise<T | null>;
  forget(hash: string): void;
};

export function createHeld<T extends Holder>(
  look: (hash: string) => Promise<T | null>,
  now: () => Date,
): Held<T> {
  const kept = new Map<string, Kept<T>>();
  return {
    async of(hash) {
      const at = now().getTime();
      const known = kept.get(hash);
      if (known !== undefined && at < known.until) return known.holder;
      kept.delete(hash);
      const holder = await look(hash);
      if (holder !== null) kept.set(hash, { holder, until: at + lifeMs(holder) });
      return holder;
    },
    forget: (hash) => void kept.delete(hash),
  };
}

const lifeMs = ({ lives_seconds }: Holder): number =>
  lives_seconds === null ? keptMs : Math.min(keptMs, lives_seconds * 1_000);
