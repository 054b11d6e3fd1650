/**
 * What every executor must keep to, built in or brought along, as a list of checks. `ops-loop executor test <path>`
 * runs them for a third party's executors, the project's own suite for the built-in ones.
 */
import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { ExecutorRegistration, StepEvent } from '../../../supabase/client/schemas/inputs.js';
import type { Ending } from '../../worker/attempt.js';
import type { Outcome } from '../../worker/outcome.js';
import { type Executor, toRegistration } from '../contract.js';
import { maxJsonChars } from '../json.js';
import { runStep, type Surroundings, startStep } from './attempt.js';

type Example = { params: unknown; around?: Surroundings };
export type Examples = {
  /** Parameters that work here and now, with what has to be around for that. */
  good: Example[];
  /** Parameters that must be refused before anything happens. */
  bad: unknown[];
  /** Parameters of a run that lasts until its signal ends it; leave it out for executors that never take long. */
  long?: Example;
};

/** Throws what is wrong. */
export type Check = { name: string; run(): Promise<void> };

/** How soon after its signal an executor must have ended. The worker gives up its slot after ten seconds. */
const abortDeadlineMs = 5_000;

export function contractChecks(executor: Executor, { good, bad, long }: Examples): Check[] {
  return [
    { name: 'its registration is one the engine takes, and is plain JSON', run: () => registers(executor) },
    ...good.map((example) => ({
      name: `succeeds with ${short(example.params)}, a result that can be stored, and valid events`,
      run: () => succeeds(executor, example),
    })),
    ...bad.map((params) => ({
      name: `refuses ${short(params)} for good`,
      run: () => refuses(executor, params),
    })),
    ...good.map((example) => ({
      name: `never lets a secret through with ${short(example.params)}`,
      run: () => keepsSecrets(executor, example),
    })),
    ...endings.flatMap((ending) =>
      long === undefined
        ? []
        : [{ name: `ends soon when it is ${ending}`, run: () => ends(executor, long, ending) }],
    ),
  ];
}

const endings = ['timed_out', 'cancelled', 'shutdown', 'lost'] as const;
const short = (params: unknown): string => (JSON.stringify(params) ?? String(params)).slice(0, 80);

async function registers(executor: Executor): Promise<void> {
  const registration = toRegistration(executor);
  assert.deepEqual(ExecutorRegistration.parse(registration), registration);
  assert.deepEqual(JSON.parse(JSON.stringify(registration)), registration);
  assert.ok(!('$schema' in registration.params_schema), 'params_schema names no dialect');
}

async function succeeds(executor: Executor, { params, around }: Example): Promise<void> {
  const outcome = await runStep(executor, params, around);
  assert.ok(outcome.kind === 'complete', `it did not succeed: ${JSON.stringify(outcome)}`);
  const stored = JSON.stringify(outcome.result);
  assert.ok(isDeepStrictEqual(JSON.parse(stored), outcome.result), 'the result changes when it is stored');
  assert.ok(
    stored.length <= maxJsonChars,
    `the result has ${stored.length} characters, over ${maxJsonChars}`,
  );
  for (const event of outcome.events) StepEvent.parse(event);
}

async function refuses(executor: Executor, params: unknown): Promise<void> {
  const outcome = await runStep(executor, params);
  const refused =
    outcome.kind === 'fail' &&
    outcome.failure.outcome === 'permanent' &&
    outcome.failure.error_class === 'InvalidParams';
  assert.ok(refused, `its params schema let them through: ${JSON.stringify(outcome)}`);
}

async function keepsSecrets(executor: Executor, { params, around }: Example): Promise<void> {
  const canary = `canary-${randomUUID()}`;
  const secrets = new Proxy(around?.secrets ?? {}, { get: (given, name: string) => given[name] && canary });
  const outcome = await runStep(executor, params, { ...around, secrets });
  assert.ok(!JSON.stringify(outcome).includes(canary), 'a secret stands in its result, event or error');
}

async function ends(executor: Executor, { params, around }: Example, ending: Ending): Promise<void> {
  const run = startStep(executor, params, around);
  await new Promise((resolve) => setImmediate(resolve));
  run.end(ending);
  const outcome = await within(abortDeadlineMs, run.outcome);
  const due = expected(executor, ending);
  assert.ok(
    outcome.kind === due.kind && (due.outcome === undefined || failureOf(outcome) === due.outcome),
    `expected ${JSON.stringify(due)}, got ${JSON.stringify(outcome)}`,
  );
}

const failureOf = (outcome: Outcome) => (outcome.kind === 'fail' ? outcome.failure.outcome : undefined);

function expected({ traits }: Executor, ending: Ending): { kind: Outcome['kind']; outcome?: string } {
  if (ending === 'lost') return { kind: 'none' };
  if (ending === 'timed_out' || ending === 'cancelled') return { kind: 'fail', outcome: ending };
  return { kind: traits.idempotent ? 'release' : 'fail' };
}

async function within<T>(deadlineMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const say = () => reject(new Error(`it had not ended ${deadlineMs} ms after its signal`));
    timer = setTimeout(say, deadlineMs);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
