import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Environment } from '../../local/env.js';
import { findApiKey, provideSecrets } from '../../local/secrets.js';

const home = mkdtempSync(join(tmpdir(), 'ops-loop-secrets-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));
const directory = (name: string) => join(home, name);
const unset = Environment.parse({});

describe('secrets of a local start', () => {
  test('are made once, kept for their owner alone, and the same at the next start', async () => {
    const first = await provideSecrets(unset, directory('once'));
    const second = await provideSecrets(unset, directory('once'));
    expect(first.made).toEqual(['OPS_API_KEY', 'CRON_SECRET', 'GITHUB_WEBHOOK_SECRET']);
    expect(second.secrets).toEqual(first.secrets);
    expect(new Set(Object.values(first.secrets)).size).toBe(3);
    expect(statSync(join(directory('once'), 'secrets.json')).mode & 0o777).toBe(0o600);
  });

  test('of two first starts at once, one set is kept', async () => {
    const both = await Promise.all([
      provideSecrets(unset, directory('race')),
      provideSecrets(unset, directory('race')),
    ]);
    expect(both[0]?.secrets).toEqual(both[1]?.secrets);
  });

  test('of the environment win and are not written down', async () => {
    const key = 'k'.repeat(40);
    const { secrets, made, file } = await provideSecrets({ ...unset, OPS_API_KEY: key }, directory('env'));
    expect(secrets.OPS_API_KEY).toBe(key);
    expect(made).toEqual(['CRON_SECRET', 'GITHUB_WEBHOOK_SECRET']);
    expect(readFileSync(file ?? '', 'utf8')).not.toContain(key);
  });

  test('give their API key to whoever asks, and are not made by asking', async () => {
    expect(await findApiKey(unset, directory('none'))).toBeUndefined();
    expect(existsSync(directory('none'))).toBe(false);
    const { secrets } = await provideSecrets(unset, directory('asked'));
    expect(await findApiKey(unset, directory('asked'))).toBe(secrets.OPS_API_KEY);
    const key = 'k'.repeat(40);
    expect(await findApiKey({ ...unset, OPS_API_KEY: key }, directory('asked'))).toBe(key);
  });

  test('in a damaged file are refused without repeating it', async () => {
    await provideSecrets(unset, directory('damaged'));
    writeFileSync(join(directory('damaged'), 'secrets.json'), '{"OPS_API_KEY": "hunter2"');
    const refused = provideSecrets(unset, directory('damaged'));
    await expect(refused).rejects.toMatchObject({
      code: 'OPS_016',
      message: expect.not.stringContaining('hunter2'),
    });
  });
});
