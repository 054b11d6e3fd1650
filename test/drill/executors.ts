/** What workers of a drill run: executors that leave an effect outside the database at a chosen moment. */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import { defineExecutor, type StepContext } from '../../local/executors/contract.js';
import { monotonicMs, recordEffect } from './effects.js';

const Params = z.strictObject({
  before_ms: z.int().min(0).max(60_000).optional(),
  after_ms: z.int().min(0).max(60_000).optional(),
  /** Ballast: comes in with the params, goes nowhere. */
  ballast: z.string().optional(),
});
type Params = z.output<typeof Params>;

/** A pause, the effect, a pause; answers the effect's token. */
async function act(ctx: StepContext<Params>, executor: string): Promise<{ token: string }> {
  const { before_ms = 0, after_ms = 0 } = ctx.params;
  await pause(before_ms, undefined, { signal: ctx.signal });
  const token = randomUUID();
  recordEffect(process.env.DRILL_EFFECTS ?? '/dev/null', {
    key: ctx.idempotencyKey,
    executor,
    token,
    at: monotonicMs(),
  });
  await pause(after_ms, undefined, { signal: ctx.signal });
  return { token };
}

/** May be tried again: its effects may repeat, each time under the same key. */
const again = defineExecutor({
  name: 'drill',
  params: Params,
  traits: { idempotent: true, risk: 'low' },
  run: (ctx) => act(ctx, 'drill'),
});

/** May not be tried again once nobody knows how far it came: at most one effect per key, whatever happens. */
const once = defineExecutor({
  name: 'drill_once',
  params: Params,
  traits: { idempotent: false, risk: 'low' },
  run: (ctx) => act(ctx, 'drill_once'),
});

/** Takes its worker down with it, every time. */
const poison = defineExecutor({
  name: 'drill_poison',
  params: z.strictObject({}),
  traits: { idempotent: true, risk: 'low' },
  run: () => process.kill(process.pid, 'SIGKILL'),
});

export default [again, once, poison];
