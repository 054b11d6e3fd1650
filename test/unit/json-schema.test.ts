/** JSON at the boundary: what `z.json()` takes is taken, what it refuses is refused, and nothing is copied. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { document, json } from '../../supabase/client/schemas/json.js';

class Box {
  readonly value = 1;
}

/** JSON, and the same with one thing in it that is none. */
const almostJson = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.jsonValue(),
    fc.constantFrom<unknown>(
      undefined,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      1n,
      new Date(0),
      new Box(),
      () => 1,
    ),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('value'),
      { maxKeys: 3 },
    ),
  ),
})).value;

test('is judged as zod judges it', () => {
  fc.assert(
    fc.property(almostJson, (value) => {
      expect(json.safeParse(value).success).toBe(z.json().safeParse(value).success);
      expect(document.safeParse(value).success).toBe(z.record(z.string(), z.json()).safeParse(value).success);
    }),
    { seed: 1120, numRuns: 2_000 },
  );
});

test('is handed on as it is', () => {
  const value = { a: [1, { b: null }] };
  expect(json.parse(value)).toBe(value);
  expect(document.parse(value).a).toBe(value.a);
});

test('that holds itself is refused', () => {
  const loop: { [name: string]: unknown } = {};
  loop.again = loop;
  expect(json.safeParse(loop).success).toBe(false);
});
