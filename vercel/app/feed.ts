/**
 * What has changed since the last look. Rows are committed in another order than they were made in, so each look goes
 * back a little further than the one before, and what was told already is left out.
 */
import type { OpsPort } from '../../supabase/client/port.js';
import type { Change } from '../../supabase/client/schemas/rows.js';

/** Longer than any transaction that writes events: a beat's rounds end within 8 s. */
const overlapMs = 15_000;
/** Rows of one look. More than that within the overlap, and what is left out is said. */
export const mostChanges = 500;

export type News = {
  /** Oldest first. */
  changes: Change[];
  /** More came in than one look takes: some of it is not told. */
  gap: boolean;
  /** Where to go on from. */
  cursor: string;
};
export type Feed = {
  /** One look. Throws what the port throws. */
  next(): Promise<News>;
};

/** From `since` on. A feed that is `fresh` tells nothing of what was there before its first look. */
export function createFeed(port: Pick<OpsPort, 'listChanges'>, since: Date, fresh: boolean): Feed {
  const told = new Map<string, number>();
  let latest = { at: since.getTime(), text: since.toISOString() };
  let isFirst = fresh;

  const look = async (): Promise<Change[]> => {
    const from = new Date(latest.at - overlapMs);
    for (const [key, at] of told) if (at < from.getTime()) told.delete(key);
    return await port.listChanges({ since: from.toISOString(), limit: mostChanges });
  };
  return {
    async next() {
      const rows = await look();
      const oldest = rows.at(-1);
      const gap =
        !isFirst && rows.length === mostChanges && oldest !== undefined && timeOf(oldest) > latest.at;
      const changes = rows.filter((row) => !told.has(keyOf(row))).reverse();
      for (const row of changes) told.set(keyOf(row), timeOf(row));
      const [newest] = rows;
      if (newest !== undefined && timeOf(newest) >= latest.at)
        latest = { at: timeOf(newest), text: newest.at };
      const isQuiet = isFirst;
      isFirst = false;
      return { changes: isQuiet ? [] : changes, gap, cursor: latest.text };
    },
  };
}

const timeOf = ({ at }: Change): number => Date.parse(at);
/** A row with another status is told again. */
const keyOf = ({ kind, id, status }: Change): string => `${kind} ${id} ${status}`;
