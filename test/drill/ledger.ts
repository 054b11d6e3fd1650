/**
 * What clients know, kept outside the database, and its comparison with what the database has, in the manner of
 * Jepsen's set checkers (jepsen/src/jepsen/checker.clj): every call is noted before it is made and when it ends.
 *
 * A key is acknowledged when any of its calls was answered; it may be present when any ended without an answer;
 * it must be absent when the server refused all of them.
 */
export type Outcome = 'ok' | 'fail' | 'unknown';
export type Kind = 'event' | 'proposal';

export type Call = {
  kind: Kind;
  key: string;
  at: number;
  outcome: Outcome | 'running';
  /** An answer said that it made the row. */
  created: boolean;
};

export type Ledger = {
  readonly calls: readonly Call[];
  /** Notes a call before it is made; the answer notes how it ended. */
  invoke(kind: Kind, key: string, at: number): (outcome: Outcome, created?: boolean) => void;
};

export function openLedger(): Ledger {
  const calls: Call[] = [];
  return {
    calls,
    invoke: (kind, key, at) => {
      const call: Call = { kind, key, at, outcome: 'running', created: false };
      calls.push(call);
      return (outcome, created = false) => {
        call.outcome = outcome;
        call.created = created;
      };
    },
  };
}

export type Verdict = {
  attempted: number;
  acknowledged: number;
  /** Without an answer, and found present. */
  recovered: number;
  /** Acknowledged, and not there. */
  lost: string[];
  /** There, though nobody asked for it or the server refused it. */
  invented: string[];
  /** There more than once, or made twice according to the answers. */
  duplicated: string[];
};

/** `present` holds each key as often as the database has a row for it. */
export function check(calls: readonly Call[], present: readonly string[]): Verdict {
  const counts = countOf(present);
  const byKey = new Map<string, Call[]>();
  for (const call of calls) byKey.set(call.key, [...(byKey.get(call.key) ?? []), call]);
  const keys = [...byKey].map(([key, all]) => ({ key, ...summary(all), count: counts.get(key) ?? 0 }));
  return {
    attempted: keys.length,
    acknowledged: keys.filter(({ ok }) => ok).length,
    recovered: keys.filter(({ ok, count }) => !ok && count > 0).length,
    lost: keys.filter(({ ok, count }) => ok && count === 0).map(({ key }) => key),
    invented: [
      ...[...counts.keys()].filter((key) => !byKey.has(key)),
      ...keys.filter(({ refused, count }) => refused && count > 0).map(({ key }) => key),
    ],
    duplicated: keys.filter(({ created, count }) => created > 1 || count > 1).map(({ key }) => key),
  };
}

function summary(calls: Call[]): { ok: boolean; refused: boolean; created: number } {
  return {
    ok: calls.some(({ outcome }) => outcome === 'ok'),
    refused: calls.every(({ outcome }) => outcome === 'fail'),
    created: calls.filter(({ created }) => created).length,
  };
}

function countOf(keys: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}
