/** Headers of every answer. A handler that needs another policy (the page) sets its own; it is not overwritten. */
import type { MiddlewareHandler } from 'hono';
import { secureHeaders } from 'hono/secure-headers';
import type { AppTypes } from './deps.js';

/** Two years, the least that browsers' preload lists take (hstspreload.org). */
const strictTransport = 'max-age=63072000; includeSubDomains';

const closedPolicy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/** The page loads its own files and talks to its own origin, nothing else; text can never become markup or script. */
export const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

export function guardHeaders(): MiddlewareHandler<AppTypes> {
  const guard = secureHeaders({
    strictTransportSecurity: strictTransport,
    xFrameOptions: 'DENY',
    permissionsPolicy: { camera: [], geolocation: [], microphone: [], payment: [], usb: [] },
    overwrite: false,
  });
  return async function guardHeaders(c, next) {
    await guard(c, next);
    const headers = c.res.headers;
    if (!headers.has('Content-Security-Policy')) headers.set('Content-Security-Policy', closedPolicy);
    if (!headers.has('Cache-Control')) headers.set('Cache-Control', 'no-store');
  };
}
