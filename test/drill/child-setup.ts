/**
 * Loaded before everything else in a worker of a drill. Its wall clock is off by the milliseconds in the file that
 * DRILL_CLOCK names, and jumps whenever that number changes; the monotonic clock and the timers stay right. It ends
 * when the drill that started it is gone.
 */
import { readFileSync } from 'node:fs';

const file = process.env.DRILL_CLOCK ?? '';
const parent = process.ppid;
const Real = Date;
let shiftMs = 0;

const readShift = (): number => {
  try {
    return Number(readFileSync(file, 'utf8')) || 0;
  } catch {
    return 0;
  }
};

setInterval(() => {
  shiftMs = readShift();
  if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL');
}, 100).unref();

const now = (): number => Real.now() + shiftMs;

globalThis.Date = new Proxy(Real, {
  construct: (target, args, self) => Reflect.construct(target, args.length === 0 ? [now()] : args, self),
  apply: () => new Real(now()).toString(),
  get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
});
