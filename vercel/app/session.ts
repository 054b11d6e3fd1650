/**
 * The page's session. It holds no operations key: whoever has the key mints a short-lived login token, the page
 * exchanges it once for a cookie, and the cookie is nothing but an expiry signed with the key. No table, no state:
 * changing the key ends every session.
 *
 * A cookie is sent by the browser whoever wrote the page, so a request that rests on one must also come from our own
 * origin (OWASP, Cross-Site Request Forgery Prevention: Fetch Metadata, with Origin where it is missing).
 */
import { createHmac, randomBytes } from 'node:crypto';
import { deleteCookie, getSignedCookie, setSignedCookie } from 'hono/cookie';
import { z } from 'zod';
import { OpsError } from '../../supabase/client/errors.js';
import { isJson, readJson } from './body.js';
import type { AppContext, AppDeps, Handler } from './deps.js';
import { type ControlEnv, minApiKeyLength } from './env.js';
import { checkInput } from './input.js';
import { Refusal } from './problem.js';
import { sameSecret } from './secrets.js';

const cookieName = 'ops_session';
const sessionTtlMs = 12 * 3_600_000;
export const loginTtlMs = 10 * 60_000;
const loginBodyLimits = { maxBytes: 4_096, maxKeys: 10 };

/** A token that opens one session within `ttlMs`: `<expiry>.<nonce>.<mac>`. It belongs into a URL's fragment. */
export function mintLoginToken(apiKey: string, now: Date, ttlMs = loginTtlMs): string {
  const claim = `${now.getTime() + ttlMs}.${randomBytes(16).toString('base64url')}`;
  return `${claim}.${loginMac(apiKey, claim)}`;
}

/** The prefix keeps a login token from ever being a session, and the other way round. */
const loginMac = (apiKey: string, claim: string): string =>
  createHmac('sha256', apiKey).update(`ops-login:${claim}`).digest('base64url');

/** Answers the expiry in ms of a token that one of `keys` made and that has not run out. */
function openLoginToken(token: string, keys: string[], now: Date): number | undefined {
  const [expiry = '', nonce = '', mac = ''] = token.split('.');
  const genuine = keys.filter((key) => sameSecret(mac, loginMac(key, `${expiry}.${nonce}`))).length > 0;
  return genuine && Number(expiry) > now.getTime() ? Number(expiry) : undefined;
}

/** Tokens already used, until they run out. Per process: a second instance could take a token again in its minutes. */
function createUsedTokens() {
  const expiries = new Map<string, number>();
  return (token: string, expiry: number, now: Date): boolean => {
    for (const [old, until] of expiries) if (until <= now.getTime()) expiries.delete(old);
    const fresh = !expiries.has(token);
    expiries.set(token, expiry);
    return fresh;
  };
}

/** `POST {token}` → 200 `{expires_at}` and the cookie; 401 for a token that is wrong, spent or out of time. */
export function openSession({ env, now }: AppDeps): Handler {
  const useOnce = createUsedTokens();
  return async function openSession(c) {
    requireOwnOrigin(c);
    const { token } = checkInput(
      z.strictObject({ token: z.string().max(300) }),
      await readJson(c.req.raw, loginBodyLimits),
    );
    const keys = signingKeys(env);
    const [key] = keys;
    const at = now();
    const tokenExpiry = openLoginToken(token, keys, at);
    if (key === undefined || tokenExpiry === undefined || !useOnce(token, tokenExpiry, at)) throw spent();
    const expires = new Date(at.getTime() + sessionTtlMs);
    await setSignedCookie(c, cookieName, `session:${expires.getTime()}`, key, { ...cookieScope(c), expires });
    return c.json({ expires_at: expires.toISOString() });
  };
}

export function closeSession(): Handler {
  return function closeSession(c) {
    requireOwnOrigin(c);
    deleteCookie(c, cookieName, cookieScope(c));
    return c.body(null, 204);
  };
}

/** Without an Authorization header, a cookie decides: the two are never mixed. */
export function hasSession(c: AppContext): boolean {
  return (
    c.req.header('authorization') === undefined && (c.req.header('cookie') ?? '').includes(`${cookieName}=`)
  );
}

/** Throws 401 without a live session, 403 for a request from another origin, 415 for an unsafe one without JSON. */
export async function admitSession(c: AppContext, env: ControlEnv, now: Date): Promise<void> {
  c.header('Vary', 'Cookie, Sec-Fetch-Site, Origin');
  requireOwnOrigin(c);
  const expiries = await Promise.all(signingKeys(env).map((key) => cookieExpiry(c, key)));
  if (!expiries.some((expiry) => expiry > now.getTime())) throw ended();
  c.set('actor', 'dashboard');
}

async function cookieExpiry(c: AppContext, key: string): Promise<number> {
  const value = await getSignedCookie(c, key, cookieName);
  return typeof value === 'string' && value.startsWith('session:')
    ? Number(value.slice('session:'.length))
    : 0;
}

const signingKeys = (env: ControlEnv): string[] =>
  [env.OPS_API_KEY, env.OPS_API_KEY_PREVIOUS].filter(
    (key) => key !== undefined && key.length >= minApiKeyLength,
  ) as string[];

/** Secure wherever TLS is; plain HTTP is only served on loopback. */
const cookieScope = (c: AppContext) =>
  ({
    path: '/',
    httpOnly: true,
    sameSite: 'Strict',
    secure: new URL(c.req.url).protocol === 'https:',
  }) as const;

/** Reading needs a request that is not cross-site; changing needs proof of our own origin, and JSON. */
function requireOwnOrigin(c: AppContext): void {
  const site = c.req.header('sec-fetch-site');
  if (['GET', 'HEAD'].includes(c.req.method)) {
    if (site === undefined || site === 'same-origin' || site === 'none') return;
    throw foreign();
  }
  const own =
    site === undefined ? c.req.header('origin') === new URL(c.req.url).origin : site === 'same-origin';
  if (!own) throw foreign();
  if (!isJson(c.req.header('content-type')))
    throw new Refusal('OPS_017', 'a session only takes application/json', {
      status: 415,
      hint: 'Send `Content-Type: application/json`.',
    });
}

const foreign = (): Refusal =>
  new Refusal('OPS_014', 'a session only works from the page itself', {
    status: 403,
    hint: 'Scripts use `Authorization: Bearer <OPS_API_KEY>` instead of the cookie.',
  });
const spent = (): OpsError =>
  new OpsError('OPS_014', 'this sign-in link is spent or out of time', {
    hint: 'Where the server was started, `npm run ops-loop -- sign-in` prints a new link.',
  });
const ended = (): OpsError =>
  new OpsError('OPS_014', 'the session has ended', {
    hint: 'Where the server was started, `npm run ops-loop -- sign-in` prints a new link.',
  });
