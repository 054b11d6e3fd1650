import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { matches } from '../../local/executors/minion/pattern.js';
import { cpuMsOf } from '../support/cpu.js';
import { seed } from '../support/seed.js';

describe('patterns over values', () => {
  test.each([
    ['v[0-9]+', 'v12', true],
    ['v[0-9]+', 'v', false],
    ['v[0-9]+', 'xv1', false],
    ['^v\\d+(\\.\\d+){0,2}(-[a-z]+)?$', 'v1.20.3-beta', true],
    ['^v\\d+(\\.\\d+){0,2}(-[a-z]+)?$', 'v1.20.3.4', false],
    ['main|release/[\\w.-]+', 'release/2026.1', true],
    ['main|release/[\\w.-]+', 'release/2026 1', false],
    ['(?:a|b)*c', 'ababc', true],
    ['a{2}', 'aa', true],
    ['a{2}', 'aaa', false],
    ['a{2,}', 'aaaaa', true],
    ['(a?){3}', '', true],
    ['\\p{L}+', 'Grüße', true],
    ['.', '\u{1f600}', true],
    ['[^\\]x]', ']', false],
    ['a\\$', 'a$', true],
    ['x\\\\$', 'x\\', true],
    ['', '', true],
    ['', 'a', false],
    ['a|', '', true],
  ])('%j on %j: %s', (pattern, value, expected) => {
    expect(matches(pattern, value)).toBe(expected);
  });

  test.each([
    '(a',
    'a)',
    '[a',
    '*a',
    'a**',
    '(?=a)',
    '(?<!a)b',
    '(a)\\1',
    '\\b',
    'a{',
    'a{99999}',
    'a{3,1}',
    '[b-a]',
    '\\',
  ])('%j is refused, whatever the value', (pattern) => {
    expect(() => matches(pattern, 'a')).toThrow();
  });

  test('say what regular expressions say', () => {
    const one = fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', '\\d', 'é');
    const { pattern } = fc.letrec<{ pattern: string }>((tie) => ({
      pattern: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        one,
        fc.tuple(tie('pattern'), tie('pattern')).map(([a, b]) => `${a}${b}`),
        fc.tuple(tie('pattern'), tie('pattern')).map(([a, b]) => `(${a}|${b})`),
        fc
          .tuple(tie('pattern'), fc.constantFrom('*', '+', '?', '{2}', '{1,3}', '{0,}'))
          .map(([a, times]) => `(?:${a})${times}`),
      ),
    }));
    const value = fc.string({ unit: fc.constantFrom('a', 'b', '1', 'é'), maxLength: 6 });
    fc.assert(
      fc.property(pattern, value, (source, text) => {
        expect(matches(source, text)).toBe(new RegExp(`^(?:${source})$`, 'su').test(text));
      }),
      { numRuns: 300, seed },
    );
  });

  test('too much work for a value is refused', () => {
    const given = () => matches('(a{0,500}b?){500}', 'a'.repeat(1_000));
    expect(cpuMsOf(() => expect(given).toThrow('it takes too long'))).toBeLessThan(1_500);
  });

  test.each([
    ['(a+)+', `${'a'.repeat(999)}!`],
    ['(a|a)*', `${'a'.repeat(999)}!`],
    ['(a*)*b', 'a'.repeat(1_000)],
    ['a*a*a*a*a*a*b', 'a'.repeat(1_000)],
    ['((a{0,1000}){0,1000}){0,1000}', `${'a'.repeat(1_000)}!`],
  ])('%s takes no longer than it should', (pattern, value) => {
    expect(cpuMsOf(() => expect(matches(pattern, value)).toBe(false))).toBeLessThan(1_500);
  });
});
