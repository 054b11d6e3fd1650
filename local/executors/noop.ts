import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { defineExecutor, type StepContext, StepError } from './contract.js';

const Params = z.strictObject({
  /** Comes back in the result. */
  echo: z.unknown().optional(),
  sleep_ms: z.int().min(0).max(86_400_000).optional(),
  /** Fails retryably while the attempt is not above this. */
  fail_times: z.int().min(0).optional(),
  fail: z.enum(['permanent', 'unknown', 'retryable']).optional(),
  /** Never returns; only the signal ends it. */
  hang: z.boolean().optional(),
  /** With `hang`: not even the signal ends it. */
  ignore_signal: z.boolean().optional(),
  /** Kills the worker process, as an out-of-memory killer would. */
  crash: z.boolean().optional(),
});
type Params = z.output<typeof Params>;

/** Does nothing, in every way that drills and tests need. Answers `{ echo, attempt }`. */
export const noop = defineExecutor({
  name: 'noop',
  params: Params,
  traits: { idempotent: true, risk: 'low' },
  async run(ctx) {
    if (ctx.params.sleep_ms !== undefined)
      await sleep(ctx.params.sleep_ms, undefined, { signal: ctx.signal });
    if (ctx.params.crash === true) process.kill(process.pid, 'SIGKILL');
    if (ctx.params.hang === true) await hang(ctx);
    failOnPurpose(ctx.params, ctx.attempt);
    return { echo: ctx.params.echo ?? null, attempt: ctx.attempt };
  },
});

function hang({ params, signal }: StepContext<Params>): Promise<never> {
  return new Promise((_, reject) => {
    if (params.ignore_signal === true) return;
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

function failOnPurpose({ fail, fail_times = 0 }: Params, attempt: number): void {
  if (fail !== undefined)
    throw new StepError(`failed on purpose (${fail})`, { outcome: fail, errorClass: 'Drill' });
  if (attempt <= fail_times)
    throw new StepError(`failed on purpose (attempt ${attempt} of ${fail_times} that fail)`, {
      errorClass: 'Drill',
    });
}
