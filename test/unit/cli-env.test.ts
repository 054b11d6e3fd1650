import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { callingDirectory, collectVariables, projectRoot, readEnvironment } from '../../local/env.js';
import { OpsError } from '../../supabase/client/errors.js';

const home = mkdtempSync(join(tmpdir(), 'ops-loop-env-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

function directoryWith(name: string, dotEnv: string): string {
  const directory = mkdtempSync(join(home, `${name}-`));
  writeFileSync(join(directory, '.env'), dotEnv);
  return directory;
}

describe('the environment', () => {
  const directory = directoryWith('called', 'OPS_PORT=1001\nOPS_HOST=called.test\n');
  const root = directoryWith('root', 'OPS_PORT=1002\nOPS_HOST=root.test\nOPS_LOG_LEVEL="debug"\n');

  test('prefers real variables, then .env where the command was called, then .env in the root', () => {
    const env = readEnvironment({ directory, root, variables: { OPS_PORT: '1000' } });
    expect(env).toMatchObject({ OPS_PORT: 1000, OPS_HOST: 'called.test', OPS_LOG_LEVEL: 'debug' });
  });

  test('takes an empty variable as not set, and lets no file fill it', () => {
    const found = collectVariables({ directory, root, variables: { OPS_PORT: '' } });
    expect(found.OPS_PORT).toBeUndefined();
    expect(readEnvironment({ directory, root, variables: { OPS_PORT: '' } }).OPS_PORT).toBe(8787);
  });

  test('names every bad variable at once and shows no value', () => {
    const secret = 'hunter2-hunter2';
    const variables = {
      OPS_PORT: 'ninety',
      OPS_API_KEY: secret,
      OPS_LOG_LEVEL: '30',
      DATABASE_URL: `mysql://u:${secret}@h/d`,
    };
    const error = caught(() => readEnvironment({ directory: home, root: home, variables }));
    expect(error.code).toBe('OPS_016');
    for (const name of Object.keys(variables)) expect(error.message).toContain(name);
    expect(JSON.stringify(error)).not.toMatch(/hunter2|ninety|mysql/);
  });

  test('reads words and fractions', () => {
    const variables = { OPS_REACTIVE: 'Yes', OPS_STEP_LEASE_MINUTES: '0.05' };
    const env = readEnvironment({ directory: home, root: home, variables });
    expect(env).toMatchObject({
      OPS_REACTIVE: true,
      OPS_STEP_LEASE_MINUTES: 0.05,
    });
  });

  test('trusts INIT_CWD only where npm puts it: in the root of this project', () => {
    expect(callingDirectory({ INIT_CWD: '/somewhere' }, projectRoot)).toBe('/somewhere');
    expect(callingDirectory({ INIT_CWD: '/somewhere' }, '/elsewhere')).toBe('/elsewhere');
    expect(callingDirectory({}, '/elsewhere')).toBe('/elsewhere');
  });
});

function caught(call: () => unknown): OpsError {
  try {
    call();
  } catch (error) {
    if (error instanceof OpsError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
