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

/** What the page has no use for, and nothing that is let into it may ask for. */
const permissionsPolicy = {
  accelerometer: [],
  bluetooth: [],
  camera: [],
  displayCapture: [],
  geolocation: [],
  gyroscope: [],
  hid: [],
  magnetometer: [],
  microphone: [],
  midi: [],
  payment: [],
  screenWakeLock: [],
  serial: [],
  usb: [],
  xrSpatialTracking: [],
};

export function guardHeaders(): MiddlewareHandler<AppTypes> {
  const guard = secureHeaders({
    strictTransportSecurity: false,
    xFrameOptions: 'DENY',
    permissionsPolicy,
    overwrite: false,
  });
  return async function guardHeaders(c, next) {
    await guard(c, next);
    closeHeaders(c.res.headers, c.req.url);
    // The rest of the body is on its way and will not be read: nobody may send another request behind it.
    if (c.res.status === 413) c.res.headers.set('Connection', 'close');
  };
}

/** The least that every answer has, also one that the app could not be built for. Keeps what is there. */
export function closeHeaders(headers: Headers, url: string): void {
  const least: Record<string, string> = {
    'Content-Security-Policy': closedPolicy,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    // Over plain HTTP it must not be sent (RFC 6797, 7.2).
    ...(new URL(url).protocol === 'https:' ? { 'Strict-Transport-Security': strictTransport } : {}),
  };
  for (const [name, value] of Object.entries(least)) if (!headers.has(name)) headers.set(name, value);
}
