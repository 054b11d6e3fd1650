import type { Random } from './clock.js';

const baseMs = 200;
const capMs = 5_000;

/** Wait before the n-th repeat (from 1): doubles from 0.2 s to 5 s, of which up to half is left out at random. */
export function backoffMs(failures: number, random: Random): number {
  const whole = Math.min(capMs, baseMs * 2 ** Math.min(failures - 1, 10));
  return whole * (1 - random() / 2);
}
