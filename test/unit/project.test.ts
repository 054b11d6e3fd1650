import { describe, expect, test } from 'vitest';
import { parseProject } from '../../supabase/client/project.js';

const tokenOf = (claims: unknown): string =>
  `eyJh.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.signature`;
const service = tokenOf({ role: 'service_role' });

describe('a Supabase project', () => {
  test('is its address and its key, of either kind', () => {
    expect(parseProject('https://abc.supabase.co/', service)).toMatchObject({
      url: 'https://abc.supabase.co',
      keyKind: 'jwt',
      host: 'abc.supabase.co',
      label: 'Supabase API on abc.supabase.co',
    });
    expect(parseProject('http://127.0.0.1:54321', 'sb_secret_abc')).toMatchObject({
      keyKind: 'secret',
      host: '127.0.0.1:54321',
    });
  });

  test.each([
    ['without a key', 'https://abc.supabase.co', undefined, 'SUPABASE_SERVICE_ROLE_KEY'],
    ['without an address', undefined, service, 'SUPABASE_URL'],
    ['with a publishable key', 'https://abc.supabase.co', 'sb_publishable_canary', 'a key of anon'],
    ['with the legacy anon key', 'https://abc.supabase.co', tokenOf({ role: 'anon' }), 'a key of anon'],
    ['with a token of nobody', 'https://abc.supabase.co', tokenOf({ sub: 'canary' }), 'no key'],
    ['with something else', 'https://abc.supabase.co', 'canary', 'no key'],
  ])('%s is refused with OPS_016, and no key is shown', (_, url, key, words) => {
    const parse = () => parseProject(url, key);
    expect(parse).toThrow(
      expect.objectContaining({ code: 'OPS_016', message: expect.stringContaining(words) }),
    );
    expect(parse).not.toThrow(/canary|eyJ/);
  });
});
