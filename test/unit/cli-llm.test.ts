/** `ops-loop llm`, as a person calls it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ModelServer, startModelServer } from '../../local/demo/model.js';
import { callCli, runCli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';

const database = useDatabase();
let well: ModelServer;
let ill: ModelServer;
beforeAll(async () => {
  well = await startModelServer(() => ({ text: 'ok' }));
  ill = await startModelServer(() => ({ status: 401 }));
});
afterAll(() => Promise.all([well.close(), ill.close()]));

const env = () => ({
  OPS_LLM_PROVIDERS: 'together, custom',
  TOGETHER_BASE_URL: ill.url,
  TOGETHER_API_KEY: 'not-the-right-key',
  TOGETHER_MODEL: 'large-model',
  OPS_LLM_CUSTOM_BASE_URL: well.url,
  OPS_LLM_CUSTOM_MODEL: 'small-model',
});

describe('llm check', () => {
  test('names who answered, and who did not and why, without a database', async () => {
    const { code, stdout } = await runCli(['llm', 'check'], { env: env() });
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^together refuses the key \(401\)\ncustom answered as small-model in \d+ ms, 120 tokens\n$/,
    );
    expect(well.told.at(-1)?.body).toMatchObject({ model: 'small-model', max_tokens: 256 });
  });

  test('asks as a role of the policy, and fails when nobody answers', async () => {
    await database.sql(
      `update ops_policy set value = jsonb_set(value, '{sage,model}', '"wise"') where key = 'agent_roles'`,
    );
    const args = ['llm', 'check', '--role', 'sage', '--provider', 'together', '--json'];
    const { code, stdout } = await callCli(args, { DATABASE_URL: database.url, ...env() });
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      provider: null,
      failed: [{ provider: 'together' }],
    });
    expect(ill.told.at(-1)?.body.model).toBe('wise');
  });

  test('says what to set when there is nobody to ask', async () => {
    const { code, stderr } = await callCli(['llm', 'check']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^OPS_016 {2}there is no provider to ask\n.*OPS_LLM_PROVIDERS/);
  });
});

test('llm health and llm reset show and reset what workers report', async () => {
  await database.sql(`select ops_register_worker('w', gen_random_uuid(), 'h', 1, '[]');
    select ops_report_llm('w', '[{"provider": "together", "state": "open", "failures": 5, "calls": 9, "failed_calls": 5,
      "last_error": "server 503", "last_error_ms_ago": 1000, "asked_again_in_ms": 20000, "reset_done": 0}]')`);
  const call = (...args: string[]) => callCli(['llm', ...args], { DATABASE_URL: database.url });
  const health = await call('health');
  expect(health.stdout).toMatch(/^down\n/);
  expect(health.stdout).toMatch(/w +together +- +open +9 +5 +- +server 503/);
  expect(health.code).toBe(1);
  expect((await call('reset', 'together')).stdout).toMatch(/^asked w;/);
  expect(await database.sql('select reset_wanted from ops_llm_breakers')).toEqual([{ reset_wanted: '1' }]);
});
