/**
 * The session's cookie: a random secret, signed with OPS_API_KEY. The signature ends every session with that key, and
 * keeps made-up cookies away from the database.
 *
 * A cookie is sent by the browser whoever wrote the page, so a request that rests on one must also come from our own
 * origin (OWASP, Cross-Site Request Forgery Prevention: Fetch Metadata, with Origin where it is missing).
 */
import { deleteCookie, getSignedCookie, setSignedCookie } from 'hono/cookie';
import { isJson } from './body.js';
import type { AppContext } from './deps.js';
import type { EnvironmentKeys } from './environment-keys.js';
import { Refusal } from './problem.js';

const cookieName = 'ops_session';

/** Without an Authorization header, a cookie decides: the two are never mixed. */
export function hasSession(c: AppContext): boolean {
  return (
    c.req.header('authorization') === undefined && (c.req.header('cookie') ?? '').includes(`${cookieName}=`)
  );
}

export function writeCookie(c: AppContext, secret: string, key: string, expires: Date): Promise<void> {
  return setSignedCookie(c, cookieName, `session:${secret}`, key, { ...cookieScope(c), expires });
}

export function clearCookie(c: AppContext): void {
  deleteCookie(c, cookieName, cookieScope(c));
}

/** The secret in a cookie that the current key signed, or the previous one within its day. */
export async function readCookie(c: AppContext, keys: EnvironmentKeys): Promise<string | undefined> {
  const read = async (key: string | undefined): Promise<string | undefined> => {
    const value = key === undefined ? false : await getSignedCookie(c, key, cookieName, prefixOf(c));
    return typeof value === 'string' ? /^session:([\w-]{43})$/.exec(value)?.[1] : undefined;
  };
  const byCurrent = await read(keys.current('OPS_API_KEY'));
  if (byCurrent !== undefined) return byCurrent;
  const byPrevious = await read(keys.previous());
  return byPrevious !== undefined && (await keys.previousHolds()) ? byPrevious : undefined;
}

const isSecure = (c: AppContext): boolean => new URL(c.req.url).protocol === 'https:';
/** With the prefix a browser takes the cookie only over TLS, and for this host alone (RFC 6265bis, 4.1.3.2). */
const prefixOf = (c: AppContext): 'host' | undefined => (isSecure(c) ? 'host' : undefined);

/** Secure wherever TLS is; plain HTTP is only served on loopback. */
function cookieScope(c: AppContext) {
  const scope = { path: '/', httpOnly: true, sameSite: 'Strict', secure: isSecure(c) } as const;
  return isSecure(c) ? ({ ...scope, prefix: 'host' } as const) : scope;
}

/** Reading needs a request that is not cross-site; changing needs proof of our own origin, and JSON. Throws 403, 415. */
export function requireOwnOrigin(c: AppContext): void {
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
    hint: 'Scripts use `Authorization: Bearer <key>` instead of the cookie.',
  });
