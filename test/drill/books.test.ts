import { describe, expect, it } from 'vitest';
import { OpsError } from '../../supabase/client/errors.js';
import { outcomeOf } from './calls.js';
import { checkEffects, type Effect } from './effects.js';
import { check, type Outcome, openLedger } from './ledger.js';
import { diceOf } from './random.js';

/** A history of calls, each as `key outcome`; `made` is an answer that says it made the row. */
function history(...lines: string[]) {
  const ledger = openLedger();
  for (const line of lines) {
    const [key = '', outcome = '', made] = line.split(' ');
    ledger.invoke('event', key, 0)(outcome as Outcome, made === 'made');
  }
  return ledger.calls;
}

describe('the ledger finds in a forged history', () => {
  it('the one that was acknowledged and is not there', () => {
    const verdict = check(history('a ok made', 'b ok made'), ['a']);
    expect(verdict).toMatchObject({ acknowledged: 2, lost: ['b'], invented: [], duplicated: [] });
  });

  it('the one that nobody sent, and the one that was refused and is there', () => {
    expect(check(history('a ok made', 'b fail'), ['a', 'b', 'c'])).toMatchObject({
      lost: [],
      invented: ['c', 'b'],
    });
  });

  it('the one that was made twice, by its rows or by the answers', () => {
    expect(check(history('a ok made'), ['a', 'a']).duplicated).toEqual(['a']);
    expect(check(history('a ok made', 'a ok made'), ['a']).duplicated).toEqual(['a']);
    expect(check(history('a ok made', 'a ok'), ['a']).duplicated).toEqual([]);
  });

  it('nothing wrong with calls that got no answer, there or not', () => {
    const calls = [
      ...history('a unknown', 'b unknown', 'c fail', 'c unknown'),
      ...history('d ok made', 'd unknown'),
    ];
    expect(check(calls, ['a', 'c', 'd'])).toEqual({
      attempted: 4,
      acknowledged: 1,
      recovered: 2,
      lost: [],
      invented: [],
      duplicated: [],
    });
  });

  it('a call whose end nobody noted: it may be there', () => {
    const ledger = openLedger();
    ledger.invoke('event', 'a', 0);
    expect(check(ledger.calls, ['a'])).toMatchObject({ lost: [], invented: [], recovered: 1 });
  });
});

describe('the books of effects', () => {
  const effect = (key: string, token: string, executor = 'again'): Effect => ({
    key,
    token,
    executor,
    at: 0,
  });
  const once = (executor: string) => executor === 'once';

  it('show a success without its effect, an effect without its step, and a repetition by who may not', () => {
    const effects = [
      effect('a', '1'),
      effect('a', '2'),
      effect('b', '3', 'once'),
      effect('b', '4', 'once'),
      effect('x', '5'),
    ];
    const successes = [
      { key: 'a', token: '2' },
      { key: 'b', token: '9' },
      { key: 'c', token: null },
    ];
    const verdict = checkEffects(effects, new Set(['a', 'b', 'c']), successes, once);
    expect(verdict.withoutEffect).toEqual(['b', 'c']);
    expect(verdict.invented).toEqual(['x']);
    expect(verdict.repeated).toEqual([effects[1]]);
    expect(verdict.forbidden).toEqual([effects[3]]);
  });
});

describe('how a call ended', () => {
  const failure = (code: ConstructorParameters<typeof OpsError>[0], sqlstate?: string) =>
    new OpsError(
      code,
      'it failed',
      sqlstate === undefined ? {} : { cause: Object.assign(new Error(), { code: sqlstate }) },
    );

  it('is certain only when it was never sent, refused, or rolled back with an error of its own', () => {
    const certain = [
      failure('OPS_011'),
      failure('OPS_018', '22P05'),
      failure('OPS_001', '25006'),
      failure('OPS_001', '53300'),
    ];
    const uncertain = [
      failure('OPS_001'),
      failure('OPS_001', '57P01'),
      failure('OPS_001', 'ECONNRESET'),
      failure('OPS_013'),
      new Error(),
    ];
    expect(certain.map(outcomeOf)).toEqual(certain.map(() => 'fail'));
    expect(uncertain.map(outcomeOf)).toEqual(uncertain.map(() => 'unknown'));
  });
});

it('dice of one seed fall alike, and cover their range', () => {
  const rolls = (seed: number) =>
    Array.from(
      { length: 1_000 },
      (
        (dice) => () =>
          dice.whole(1, 6)
      )(diceOf(seed)),
    );
  expect(rolls(7)).toEqual(rolls(7));
  expect(rolls(7)).not.toEqual(rolls(8));
  expect([...new Set(rolls(7))].sort()).toEqual([1, 2, 3, 4, 5, 6]);
  expect(diceOf(3).shuffle([1, 2, 3, 4, 5]).sort()).toEqual([1, 2, 3, 4, 5]);
});
