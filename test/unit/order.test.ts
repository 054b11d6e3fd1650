import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { slowFiles } from '../support/order.js';

test('every file that is known to be slow is there', () => {
  const folder = fileURLToPath(new URL('..', import.meta.url));
  expect(Object.keys(slowFiles).filter((file) => !existsSync(folder + file))).toEqual([]);
});
