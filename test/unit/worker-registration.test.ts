import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, onTestFinished, test } from 'vitest';
import { checkSchema, instancesHere, isWorkerAlive } from '../../local/worker/registration.js';
import { schemaVersion } from '../../supabase/client/terms.js';

const holder = (pid: number, instance = 'unknown') => ({ instance, host: 'here', pid });

async function childPid(command: string, args: string[]): Promise<number> {
  const child = spawn(command, args, { stdio: 'ignore' });
  await once(child, 'spawn');
  onTestFinished(() => void child.kill('SIGKILL'));
  return child.pid ?? 0;
}

describe('whether the holder of a name is alive', () => {
  test('not when its process is gone', async () => {
    expect(await isWorkerAlive(holder(2 ** 22 + 1))).toBe(false);
  });

  test('in this very process only if that instance is', async () => {
    expect(await isWorkerAlive(holder(process.pid, 'earlier life, same pid'))).toBe(false);
    instancesHere.add('present');
    onTestFinished(() => void instancesHere.delete('present'));
    expect(await isWorkerAlive(holder(process.pid, 'present'))).toBe(true);
  });

  test('when its process is a Node one', async () => {
    const pid = await childPid(process.execPath, [
      '-e',
      'process.stdin.resume(); setInterval(() => {}, 1000)',
    ]);
    expect(await isWorkerAlive(holder(pid))).toBe(true);
  });

  test.runIf(process.platform === 'linux')('not when the process id went to some other program', async () => {
    expect(await isWorkerAlive(holder(await childPid('sleep', ['60'])))).toBe(false);
  });
});

describe('the schema', () => {
  test('may be newer than the worker, not older', () => {
    expect(() => checkSchema(schemaVersion)).not.toThrow();
    expect(() => checkSchema('9999')).not.toThrow();
    expect(() => checkSchema('0001')).toThrow(expect.objectContaining({ code: 'OPS_013' }));
  });
});
