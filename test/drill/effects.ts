/**
 * What executors did to the world: a file that every worker appends to, one line per effect. Held against what the
 * database recorded, it shows results without an effect, effects nobody asked for, and effects done twice.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';

const Effect = z.object({
  /** The idempotency key: the step's id. */
  key: z.string(),
  executor: z.string(),
  /** Made up at the moment of the effect; a success brings it back as its result. */
  token: z.string(),
  /** Milliseconds of the machine's monotonic clock, which all processes share. */
  at: z.number(),
});
export type Effect = z.infer<typeof Effect>;

export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1_000_000n);

/** One short write with O_APPEND: lines of several processes never mix, and a kill leaves all of it or nothing. */
export const recordEffect = (file: string, effect: Effect): void =>
  appendFileSync(file, `${JSON.stringify(effect)}\n`);

export const readEffects = (file: string): Effect[] =>
  existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => Effect.parse(JSON.parse(line)))
    : [];

/** A step that recorded a success, and the token in its result. */
export type Success = { key: string; token: string | null };

export type EffectVerdict = {
  effects: number;
  /** Successes whose token no effect has. */
  withoutEffect: string[];
  /** Effects of steps that the database does not know. */
  invented: string[];
  /** Second and later effects with one key, by executors that may be tried again. */
  repeated: Effect[];
  /** The same by executors that may not: always a violation. */
  forbidden: Effect[];
};

export function checkEffects(
  effects: readonly Effect[],
  known: ReadonlySet<string>,
  successes: readonly Success[],
  once: (executor: string) => boolean,
): EffectVerdict {
  const seen = new Set<string>();
  const repeats = effects.filter(({ key }) => seen.size === seen.add(key).size);
  const tokens = new Set(effects.map(({ key, token }) => `${key} ${token}`));
  return {
    effects: effects.length,
    withoutEffect: successes.filter(({ key, token }) => !tokens.has(`${key} ${token}`)).map(({ key }) => key),
    invented: [...new Set(effects.map(({ key }) => key))].filter((key) => !known.has(key)),
    repeated: repeats.filter(({ executor }) => !once(executor)),
    forbidden: repeats.filter(({ executor }) => once(executor)),
  };
}
