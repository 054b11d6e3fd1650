/**
 * The page's session. The page holds no operations key: whoever has one makes a short-lived login token, the page
 * exchanges it once for a cookie, and what the cookie opens is a row of the database. The row makes the token single-use
 * and signing out final over all instances. A session acts as the key that made its link, and ends with that key.
 */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { OpsError } from '../../supabase/client/errors.js';
import { hashOf } from '../../supabase/client/keys.js';
import type { SessionHolder } from '../../supabase/client/schemas/rows.js';
import { readJson } from './body.js';
import { clearCookie, readCookie, requireOwnOrigin, writeCookie } from './cookie.js';
import type { AppContext, AppDeps, Identity } from './deps.js';
import { answers, described, type Endpoint } from './endpoint.js';
import type { EnvironmentKeys } from './environment-keys.js';
import { createHeld, type Held } from './held.js';
import { checkInput } from './input.js';
import { type Login, loginTtlMs, mintLoginToken, openLoginToken } from './login.js';
import type { Rates } from './rates.js';

const sessionHours = 12;
const loginBodyLimits = { maxBytes: 4_096, maxKeys: 10 };
const LoginBody = z.strictObject({ token: z.string().max(1_000) });

export type Sessions = {
  /** `POST {token}` → 200 `{expires_at}` and the cookie; 401 for a token that is wrong, spent or out of time. */
  open: Endpoint;
  /** Ends the session, here at once and on other instances within `keptMs`; 204, also without one. */
  close: Endpoint;
  /** For a key: 201 `{token, path, expires_at}`, a login token for the page that acts as that key. */
  link: Endpoint;
  /** Throws 401 without a live session, 403 for a request from another origin, 415 for an unsafe one without JSON. */
  holderOf(c: AppContext): Promise<Identity>;
};

const expires_at = z.iso.datetime();
const openSpec = {
  summary: 'Exchanges a sign-in token for the cookie of a session',
  body: LoginBody,
  answers: { 200: answers('The cookie is set.', z.object({ expires_at })) },
  refuses: [401, 403, 429],
};
const closeSpec = {
  summary: 'Ends the session of the cookie',
  answers: { 204: { about: 'It has ended, or there was none.' } },
};
const linkSpec = {
  summary: 'Makes a sign-in token that acts as this key',
  answers: {
    201: answers(
      'The token and where to use it.',
      z.object({ token: z.string(), path: z.string(), expires_at }),
    ),
  },
};

type SessionDeps = AppDeps & { keys: EnvironmentKeys; rates: Rates };
type Parts = SessionDeps & { held: Held<SessionHolder> };

export function createSessions(deps: SessionDeps): Sessions {
  const held = createHeld((hash) => deps.port.checkSession({ hash }), deps.now);
  const parts = { ...deps, held };
  return {
    open: described(openSpec, (c) => openSession(c, parts)),
    close: described(closeSpec, (c) => closeSession(c, parts)),
    link: described(linkSpec, (c) => makeLink(c, parts)),
    holderOf: (c) => sessionHolder(c, parts),
  };
}

async function openSession(c: AppContext, parts: Parts): Promise<Response> {
  requireOwnOrigin(c);
  const { token } = checkInput(LoginBody, await readJson(c.req.raw, loginBodyLimits));
  const key = parts.keys.current('OPS_API_KEY');
  const session = await startSession(token, parts);
  if (session === undefined || key === undefined) {
    await parts.rates.countWrongKey(c);
    throw spent();
  }
  await writeCookie(c, session.secret, key, session.expires);
  return c.json({ expires_at: session.expires.toISOString() });
}

async function startSession(token: string, { port, keys, now }: Parts) {
  const login = await loginOf(token, keys, now());
  if (login === undefined) return undefined;
  const secret = randomBytes(32).toString('base64url');
  const { expires_at } = await port.openSession(sessionRow(token, secret, login));
  return expires_at === null ? undefined : { secret, expires: new Date(expires_at) };
}

async function closeSession(c: AppContext, { port, keys, held }: Parts): Promise<Response> {
  requireOwnOrigin(c);
  const secret = await readCookie(c, keys);
  clearCookie(c);
  if (secret !== undefined) {
    held.forget(hashOf(secret));
    await port.endSession({ hash: hashOf(secret) });
  }
  return c.body(null, 204);
}

function makeLink(c: AppContext, { keys, now }: Parts): Response {
  const key = keys.current('OPS_API_KEY');
  if (key === undefined) throw unsigned();
  const token = mintLoginToken(key, now(), loginTtlMs, loginAs(c.get('identity')));
  const expires = new Date(now().getTime() + loginTtlMs);
  return c.json({ token, path: `/#key=${token}`, expires_at: expires.toISOString() }, 201);
}

async function sessionHolder(c: AppContext, { keys, held }: Parts): Promise<Identity> {
  c.header('Vary', 'Cookie, Sec-Fetch-Site, Origin');
  requireOwnOrigin(c);
  const secret = await readCookie(c, keys);
  const holder = secret === undefined ? null : await held.of(hashOf(secret));
  if (holder === null) throw ended();
  return { scope: holder.scope, label: holder.label, by: 'session', keyId: holder.key_id };
}

const sessionRow = (token: string, secret: string, { scope, label, keyId }: Login) => ({
  signInHash: hashOf(token),
  sessionHash: hashOf(secret),
  scope,
  label,
  ...(keyId === null ? {} : { keyId }),
  hours: sessionHours,
});

/** A link made by OPS_API_KEY signs in as `dashboard`, one made by a key as its label. */
const loginAs = ({ by, scope, label, keyId }: Identity): Login | undefined =>
  by === 'key' ? { scope: scope === 'operator' ? 'operator' : 'viewer', label, keyId } : undefined;

/** The login that a token stands for, if the current key signed it, or the previous one within its day. */
async function loginOf(token: string, keys: EnvironmentKeys, now: Date): Promise<Login | undefined> {
  const open = (key: string | undefined) => (key === undefined ? undefined : openLoginToken(token, key, now));
  const byCurrent = open(keys.current('OPS_API_KEY'));
  if (byCurrent !== undefined) return byCurrent;
  const byPrevious = open(keys.previous());
  return byPrevious !== undefined && (await keys.previousHolds()) ? byPrevious : undefined;
}

const newLink = 'Where the server was started, `npm run ops-loop -- sign-in` prints a new link.';
const spent = (): OpsError =>
  new OpsError('OPS_014', 'this sign-in link is spent or out of time', { hint: newLink });
const ended = (): OpsError => new OpsError('OPS_014', 'the session has ended', { hint: newLink });
const unsigned = (): OpsError =>
  new OpsError('OPS_016', 'sessions are signed with OPS_API_KEY, which is not set', {
    hint: 'Set OPS_API_KEY (at least 32 characters), for example from `openssl rand -base64 33`.',
  });
