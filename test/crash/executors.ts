/**
 * Executors whose side effects can be counted: each effect is a line in a file that stands for the world outside.
 * The line is there as soon as the call returns, whatever happens to the process or the database afterwards.
 */
import { appendFileSync } from 'node:fs';
import { z } from 'zod';
import { defineExecutor, type StepContext, StepError } from '../../local/executors/contract.js';
import { listedEnvironment } from '../../local/process/environment.js';
import { runProcess } from '../../local/process/run.js';

/** Where a test may hold an executor, as `gates.ts` holds the worker. */
export type Place = 'before effect' | 'after effect';
export const places: { hold?: ((place: Place) => Promise<void> | void) | undefined } = {};

/** `ended`: its signal was aborted. */
export type Trace = { what: 'effect' | 'ended'; key: string; attempt: number; pid: number; at: number };

const Params = z.strictObject({
  world: z.string(),
  /** What it does after its effect in its first attempt; it returns unless told, and later on. */
  next: z.enum(['fail', 'wait', 'ignore', 'leave']).optional(),
});
type Params = z.output<typeof Params>;

function leaveTrace(
  { params, idempotencyKey: key, attempt }: StepContext<Params>,
  what: Trace['what'],
): void {
  const trace: Trace = { what, key, attempt, pid: process.pid, at: Date.now() };
  appendFileSync(params.world, `${JSON.stringify(trace)}\n`);
}

async function run(ctx: StepContext<Params>): Promise<unknown> {
  if (places.hold !== undefined) await places.hold('before effect');
  leaveTrace(ctx, 'effect');
  if (places.hold !== undefined) await places.hold('after effect');
  if (ctx.attempt === 1) await goOn(ctx);
  return { pid: process.pid, attempt: ctx.attempt };
}

async function goOn(ctx: StepContext<Params>): Promise<void> {
  if (ctx.params.next === 'fail') throw new StepError('failed on purpose', { outcome: 'permanent' });
  if (ctx.params.next === 'wait') await untilEnded(ctx);
  if (ctx.params.next === 'ignore') await forEver();
  if (ctx.params.next === 'leave') await leaveGrandchild(ctx);
}

function untilEnded(ctx: StepContext<Params>): Promise<never> {
  return new Promise((_, reject) => {
    ctx.signal.addEventListener('abort', () => {
      leaveTrace(ctx, 'ended');
      reject(ctx.signal.reason);
    });
  });
}

/** Deaf to its signal, and it keeps the event loop busy. */
function forEver(): Promise<never> {
  setInterval(() => {}, 1_000);
  return new Promise(() => {});
}

/**
 * Runs a program as executors do. It starts another one in a session of its own, which keeps the output open. Deaf to
 * its signal: what ends them is not the step.
 */
async function leaveGrandchild({ params }: StepContext<Params>): Promise<never> {
  const script = 'setsid sleep 600 & echo "{\\"what\\":\\"grandchild\\",\\"pid\\":$!}" >> "$1"; wait';
  const args = ['-c', script, 'sh', params.world];
  const { signal } = new AbortController();
  await runProcess({ program: 'sh', args, cwd: '/', env: listedEnvironment(), signal });
  return forEver();
}

/** May run again after a crash. */
export const post = defineExecutor({
  name: 'post',
  params: Params,
  traits: { idempotent: true, risk: 'low' },
  run,
});

/** Nobody knows how far it came when it crashed. */
export const wire = defineExecutor({
  name: 'wire',
  params: Params,
  traits: { idempotent: false, risk: 'low' },
  run,
});

export default [post, wire];
