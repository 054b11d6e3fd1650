/**
 * Login tokens: `<expiry>.<nonce>[.<who>].<mac>`, for a link's fragment. The mac is made with OPS_API_KEY, so whoever has
 * that key can make one without asking a server. `who` says for which key of the database it stands; without it the
 * session is the environment's own, `dashboard`. That a token is used once is for the database to say.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { sameSecret } from './secrets.js';

/** Whom a session acts for. */
export type Login = z.infer<typeof Login>;
const Login = z.strictObject({
  scope: z.enum(['operator', 'viewer']),
  label: z.string().min(1).max(100),
  keyId: z.uuid().nullable(),
});

export const loginTtlMs = 10 * 60_000;
/** A session's row outlives every token that could open one. */
const longestTtlMs = 24 * 3_600_000;
const ownLogin: Login = { scope: 'operator', label: 'dashboard', keyId: null };

/** A token that opens one session within `ttlMs`, at most a day. */
export function mintLoginToken(apiKey: string, now: Date, ttlMs = loginTtlMs, login?: Login): string {
  const expiry = now.getTime() + Math.min(ttlMs, longestTtlMs);
  const nonce = randomBytes(16).toString('base64url');
  const who = login === undefined ? [] : [Buffer.from(JSON.stringify(login)).toString('base64url')];
  const claim = [expiry, nonce, ...who].join('.');
  return `${claim}.${loginMac(apiKey, claim)}`;
}

/** For whom a token stands that `key` made and that has not run out. */
export function openLoginToken(token: string, key: string, now: Date): Login | undefined {
  const end = token.lastIndexOf('.');
  const claim = token.slice(0, Math.max(end, 0));
  if (!sameSecret(token.slice(end + 1), loginMac(key, claim))) return undefined;
  const [expiry, , who] = claim.split('.');
  const left = Number(expiry) - now.getTime();
  if (!(left > 0 && left <= longestTtlMs)) return undefined;
  return who === undefined ? ownLogin : Login.parse(JSON.parse(Buffer.from(who, 'base64url').toString()));
}

/** The prefix keeps a login token from ever being a session, and the other way round. */
const loginMac = (apiKey: string, claim: string): string =>
  createHmac('sha256', apiKey).update(`ops-login:${claim}`).digest('base64url');
