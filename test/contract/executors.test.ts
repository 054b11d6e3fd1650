import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { builtins } from '../../local/executors/builtin.js';
import { defineExecutor, type StepContext, StepError } from '../../local/executors/contract.js';
import { noop } from '../../local/executors/noop.js';
import { createRegistry, loadRegistry } from '../../local/executors/registry.js';
import { checkExecutor, runStep, startStep } from './kit.js';

checkExecutor(noop, {
  good: [{ params: {} }, { params: { echo: { deep: [1, null, 'x'] } } }, { params: { sleep_ms: 1 } }],
  bad: [{ sleep_ms: -1 }, { fail: 'sometimes' }, { unknown: true }, 'text', null],
  long: { params: { hang: true } },
});

test('every built-in has a name of its own', () => {
  expect(new Set(builtins.map(({ name }) => name)).size).toBe(builtins.length);
});

describe('noop', () => {
  test('answers what it was given, and the attempt', async () => {
    expect(await runStep(noop, { echo: 'hi' }, { attempt: 2 })).toEqual({
      kind: 'complete',
      result: { echo: 'hi', attempt: 2 },
      events: [],
    });
  });

  test('fails while the attempt is not above fail_times', async () => {
    const kinds = [1, 2, 3].map(
      async (attempt) => (await runStep(noop, { fail_times: 2 }, { attempt })).kind,
    );
    expect(await Promise.all(kinds)).toEqual(['fail', 'fail', 'complete']);
  });

  test.each(['permanent', 'unknown', 'retryable'])('fails as %s on demand', async (fail) => {
    expect(await runStep(noop, { fail })).toMatchObject({ kind: 'fail', failure: { outcome: fail } });
  });
});

const define = (run: (ctx: StepContext) => unknown, result?: z.ZodType, idempotent = false) =>
  defineExecutor({
    name: 'drill',
    params: z.strictObject({}),
    traits: { idempotent, risk: 'low' },
    run,
    ...(result && { result }),
  });
const outcomeOf = async (run: (ctx: StepContext) => unknown, result?: z.ZodType) => {
  const outcome = await runStep(define(run, result), {}, { secrets: { TOKEN: 's3cret-value' } });
  return outcome.kind === 'fail'
    ? outcome.failure
    : outcome.kind === 'complete'
      ? { result: outcome.result }
      : outcome;
};

describe('what a run comes to', () => {
  test('any throw is retryable, with its class and its cause in words', async () => {
    const fail = () => {
      throw new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') });
    };
    expect(await outcomeOf(fail)).toEqual({
      outcome: 'retryable',
      error: 'fetch failed: connect ECONNREFUSED',
      error_class: 'TypeError',
    });
    expect(await outcomeOf(() => Promise.reject('text'))).toMatchObject({
      outcome: 'retryable',
      error_class: 'string',
    });
  });

  test('a StepError says what it is', async () => {
    const limited = () => {
      throw new StepError('slow down', { outcome: 'rate_limited', retryAfterSeconds: 7, errorClass: '429' });
    };
    expect(await outcomeOf(limited)).toEqual({
      outcome: 'rate_limited',
      error: 'slow down',
      error_class: '429',
      retry_after_seconds: 7,
    });
  });

  test('nothing is null without a result schema, and refused with one', async () => {
    expect(await outcomeOf(() => undefined)).toEqual({ result: null });
    expect(await outcomeOf(() => undefined, z.object({ a: z.int() }))).toMatchObject({
      outcome: 'permanent',
      error_class: 'InvalidResult',
    });
  });

  test('a result is what its schema makes of it', async () => {
    expect(await outcomeOf(() => ({ a: 1, b: 2 }), z.object({ a: z.int() }))).toEqual({ result: { a: 1 } });
  });

  test.each([
    ['a date', () => ({ at: new Date() }), 'at is a Date'],
    ['a function', () => [() => 1], '0 is a function'],
    ['not a number', () => ({ a: { b: Number.NaN } }), 'a.b is NaN'],
    ['a big integer', () => 1n, 'it is a bigint'],
    ['a map', () => new Map(), 'it is a Map'],
    ['too much', () => 'x'.repeat(2_000_000), 'larger than'],
    ['a circle', () => circle(), 'nested deeper'],
  ])('%s is a permanent failure that names the place', async (_, run, why) => {
    const failure = await outcomeOf(run);
    expect(failure).toMatchObject({ outcome: 'permanent', error_class: 'InvalidResult' });
    expect(failure).toHaveProperty('error', expect.stringContaining(why));
  });

  test('text that PostgreSQL cannot store is made storable, and undefined members are left out', async () => {
    expect(
      await outcomeOf(() => ({ a: 'nul \0', b: 'half \ud83d', c: 'whole \u{1f600}', d: undefined })),
    ).toEqual({
      result: { a: 'nul \ufffd', b: 'half \ufffd', c: 'whole \u{1f600}' },
    });
  });

  test('an invalid event fails the step for good', async () => {
    const raise = (ctx: StepContext) => ctx.emit({ type: 'no spaces allowed' });
    expect(await outcomeOf(raise)).toMatchObject({ outcome: 'permanent', error_class: 'InvalidEvent' });
  });

  test('secrets are cut out of results, events and errors', async () => {
    const leak = (ctx: StepContext) => ({
      said: `got ${ctx.secret('TOKEN')}`,
      [String(ctx.secret('TOKEN'))]: 1,
    });
    expect(await outcomeOf(leak)).toEqual({ result: { said: 'got [redacted]', '[redacted]': 1 } });
    const fail = (ctx: StepContext) => {
      throw new Error(`refused ${ctx.secret('TOKEN')}`);
    };
    expect(await outcomeOf(fail)).toMatchObject({ error: 'refused [redacted]' });
  });

  test('costs add up', async () => {
    const run = startStep(
      define((ctx) => {
        ctx.cost({ usd: 0.5, tokens: 10, model: 'a' });
        ctx.cost({ usd: 0.25, tokens: 5, model: 'b' });
      }),
      {},
    );
    await run.outcome;
    expect(run.scope.meta).toEqual({ usd: 0.75, tokens: 15, model: 'b' });
  });
});

function circle(): unknown {
  const loop: Record<string, unknown> = {};
  loop.self = loop;
  return loop;
}

describe('ended from outside', () => {
  const endedBy = async (
    ending: 'shutdown' | 'timed_out' | 'cancelled' | 'halted',
    idempotent: boolean,
    run?: (ctx: StepContext) => unknown,
  ) => {
    const started = startStep(define(run ?? aborts, undefined, idempotent), {});
    started.end(ending);
    return started.outcome;
  };
  const aborts = ({ signal }: StepContext) =>
    new Promise((_, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener('abort', () => reject(signal.reason));
    });

  test('at shutdown and halt an idempotent step is given back, another one is unknown', async () => {
    for (const ending of ['shutdown', 'halted'] as const) {
      expect(await endedBy(ending, true)).toEqual({ kind: 'release' });
      expect(await endedBy(ending, false)).toMatchObject({ kind: 'fail', failure: { outcome: 'unknown' } });
    }
  });

  test('an executor that names its outcome at shutdown is believed', async () => {
    const nothingSent = () => Promise.reject(new StepError('nothing was sent yet'));
    expect(await endedBy('shutdown', false, nothingSent)).toMatchObject({
      failure: { outcome: 'retryable' },
    });
  });

  test('a result counts at shutdown, but not after a timeout or a cancel', async () => {
    const done = async () => 'done';
    expect(await endedBy('shutdown', false, done)).toMatchObject({ kind: 'complete' });
    expect(await endedBy('timed_out', true, done)).toMatchObject({ failure: { outcome: 'timed_out' } });
    expect(await endedBy('cancelled', true, done)).toMatchObject({ failure: { outcome: 'cancelled' } });
  });
});

describe('the registry', () => {
  let directory = '';
  const contract = fileURLToPath(new URL('../../local/executors/contract.ts', import.meta.url));
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ops-loop-executors-'));
    const zod = import.meta.resolve('zod');
    const define = `import { z } from '${zod}'; import { defineExecutor } from '${contract}';
      const make = (name) => defineExecutor({ name, params: z.object({}), traits: { idempotent: true, risk: 'low' }, run: () => 1 });`;
    await writeFile(join(directory, 'one.mjs'), `${define} export default make('one');`);
    await writeFile(join(directory, 'list.mjs'), `${define} export default [make('two'), make('three')];`);
    await writeFile(join(directory, 'none.mjs'), 'export default { name: "none" };');
    await writeFile(join(directory, 'clash.mjs'), `${define} export default make('noop');`);
  });
  afterAll(() => rm(directory, { recursive: true }));

  test('has the built-ins, and what OPS_EXECUTORS names: one executor or a list', async () => {
    const registry = await loadRegistry('./one.mjs, ./list.mjs', directory);
    expect(registry.names).toEqual([...builtins.map(({ name }) => name), 'one', 'two', 'three']);
    expect(registry.registrations()).toHaveLength(builtins.length + 3);
  });

  test.each([
    ['./missing.mjs', 'cannot load'],
    ['no-such-package-here', 'cannot load'],
    ['./none.mjs', 'exports no executor'],
    ['./clash.mjs', 'two executors are named noop'],
  ])('refuses %s with OPS_016', async (place, message) => {
    await expect(loadRegistry(place, directory)).rejects.toMatchObject({
      code: 'OPS_016',
      message: expect.stringContaining(message),
      hint: expect.any(String),
    });
  });

  test('names what there is when an executor is unknown', () => {
    expect(() => createRegistry([noop]).require('nope')).toThrow(
      expect.objectContaining({ code: 'OPS_005', message: 'no executor is named nope; there are noop' }),
    );
  });

  test('an executor that could not be registered cannot be defined', () => {
    const traits = { idempotent: true, risk: 'low' } as const;
    const bad = () => defineExecutor({ name: 'Bad Name', params: z.object({}), traits, run: () => 1 });
    expect(bad).toThrow(expect.objectContaining({ code: 'OPS_016' }));
    const noSchema = () => defineExecutor({ name: 'odd', params: z.bigint(), traits, run: () => 1 });
    expect(noSchema).toThrow(expect.objectContaining({ code: 'OPS_016' }));
  });
});
