/** Whatever ends a run, and whatever its programs did to get away: afterwards none of them is there. */
import { describe, expect, test } from 'vitest';
import { canBrand } from '../../local/process/brand.js';
import type { Command } from '../../local/process/run.js';
import { hasProc, parseStat } from '../../local/process/table.js';
import { OpsError } from '../../supabase/client/errors.js';
import { asleep, longSleep, node, run, shell, sleepers } from './process-kit.js';

/** Without it the last of these ways out are open (docs/commands.md). */
const hasBrand = await canBrand();

/** Ways in which a program can try to be somewhere else when it is ended; `S` is how long its helper sleeps. */
const escapes: Record<string, string> = {
  'forks in its own group': 'sleep S & wait',
  'ignores TERM': 'trap "" TERM HUP INT; while true; do sleep 0.05; : S; done',
  'leaves its session': 'setsid sleep S & wait',
  'leaves its session and ends': '(setsid sleep S </dev/null >/dev/null 2>&1 &) ; sleep S',
  'clears its environment': 'env -i setsid sleep S & wait',
  'clears its environment, closes its files, leaves its session, and its parent ends':
    '(env -i setsid sleep S </dev/null >/dev/null 2>&1 &) ; sleep S',
  'does that twice':
    '(env -i setsid sh -c "setsid sleep S & sleep S" </dev/null >/dev/null 2>&1 &) ; sleep S',
};
const detach = (sleep: string) => `
  const { spawn } = require('node:child_process');
  spawn('/bin/sleep', ['${sleep}'], { detached: true, env: {}, stdio: 'ignore' }).unref();`;

test.runIf(hasProc)('a program has a process group and a session of its own', async () => {
  const { stdout } = await shell('exec cat /proc/self/stat');
  const { pid, group, session } = parseStat(stdout.text);
  expect([group, session]).toEqual([pid, pid]);
});

describe.runIf(hasBrand)('after its time is up nothing is left of a program that', () => {
  test.each(Object.entries(escapes))('%s', async (_, script) => {
    const sleep = longSleep();
    const controller = new AbortController();
    const finished = shell(script.replaceAll('S', sleep), { signal: controller.signal, graceMs: 50 });
    await asleep(sleep);
    controller.abort();
    expect(await finished).toMatchObject({ ending: 'aborted' });
    expect(await sleepers(sleep)).toEqual([]);
  });
});

describe('a program that ends by itself', () => {
  test('ends the run although a helper in the background holds its outputs', async () => {
    const sleep = longSleep();
    const finished = await shell(`echo done; sleep ${sleep} & exit 0`);
    expect(finished).toMatchObject({ ending: 'exited', code: 0, stdout: { text: 'done\n' } });
    expect(await sleepers(sleep)).toEqual([]);
  });

  test.runIf(hasBrand)('leaves nothing, also when a helper has cut all its ties before', async () => {
    const sleep = longSleep();
    expect(await node(detach(sleep))).toMatchObject({ ending: 'exited', code: 0 });
    expect(await sleepers(sleep)).toEqual([]);
  });

  test('is not cut short: a helper that is about to end may say its last word', async () => {
    const script = '(while kill -0 $$ 2>/dev/null; do sleep 0.06; done; echo last) & echo first';
    expect((await shell(script)).stdout.text).toBe('first\nlast\n');
  });
});

/** Aborted as soon as it says so. */
function endedWhenReady(script: string, given: Partial<Command> = {}, reason?: OpsError) {
  const controller = new AbortController();
  const onLine = (line: string) => {
    if (line === 'ready') controller.abort(reason);
  };
  return shell(script, { signal: controller.signal, onLine, ...given });
}

describe('bounds', () => {
  test('wall clock', async () => {
    const finished = await run({ program: 'sleep', args: ['60'], timeoutMs: 30 });
    expect(finished).toMatchObject({ ending: 'timed_out', code: null, signal: 'SIGTERM' });
    expect(finished.durationMs).toBeLessThan(5_000);
  });

  test('KILL comes when TERM was not enough, after the grace', async () => {
    const script = 'trap "" TERM; echo ready; while true; do sleep 0.05; done';
    expect(await endedWhenReady(script, { graceMs: 60 })).toMatchObject({
      ending: 'aborted',
      signal: 'SIGKILL',
    });
  });

  test('KILL comes soon when the lease is lost, whatever the grace', async () => {
    const script = 'trap "" TERM; echo ready; while true; do sleep 0.05; done';
    const reason = new OpsError('OPS_006', 'the lease was lost');
    const finished = await endedWhenReady(script, { graceMs: 60_000 }, reason);
    expect(finished).toMatchObject({ ending: 'aborted', signal: 'SIGKILL' });
  });

  test('TERM reaches each of its group once, at the same time, and they may end in their own way', async () => {
    // It waits for its signal, not only for its helper, who may be gone first.
    const counts = `let count = 0;
      setInterval(() => {}, 60_000);
      process.on('SIGTERM', () => count++ || setTimeout(() => process.exit(console.log(count) ?? 7), 100));
      require('node:child_process').spawn('sh', ['-c', 'trap "echo helper; exit" TERM; echo ready; while :; do sleep 0.02; done'],
        { stdio: 'inherit' });`;
    expect(await endedWhenReady(counts, { program: process.execPath, args: ['-e', counts] })).toMatchObject({
      ending: 'aborted',
      code: 7,
      stdout: { text: 'ready\nhelper\n1\n' },
    });
  });

  test('TERM reaches its helpers although the program itself does not listen', async () => {
    const helper = "(trap 'echo helper; exit' TERM; echo ready; while :; do sleep 0.02; done)";
    const finished = await endedWhenReady(
      `trap "" TERM; ${helper.replace('(trap', '(trap - TERM; trap')} & wait`,
    );
    expect(finished).toMatchObject({ ending: 'aborted', stdout: { text: 'ready\nhelper\n' } });
  });

  test('no output for too long; any output starts the time anew', async () => {
    const script = 'for i in 1 2 3 4 5; do echo $i; sleep 0.2; done; exec sleep 60';
    const finished = await shell(script, { idleMs: 700 });
    expect(finished).toMatchObject({ ending: 'idle', stdout: { text: '1\n2\n3\n4\n5\n' } });
  });

  test('the signal, also one that was aborted before', async () => {
    const sleep = longSleep();
    const controller = new AbortController();
    const running = run({ program: 'sleep', args: [sleep], signal: controller.signal });
    await asleep(sleep);
    controller.abort();
    expect(await running).toMatchObject({ ending: 'aborted', signal: 'SIGTERM' });
    expect(await run({ program: 'no-such-program', signal: controller.signal })).toMatchObject({
      ending: 'aborted',
      code: null,
    });
  });

  test('a time longer than timers can hold does not fire at once', async () => {
    expect(await run({ program: 'true', timeoutMs: 1e12, idleMs: 1e12 })).toMatchObject({
      ending: 'exited',
      code: 0,
    });
  });
});
