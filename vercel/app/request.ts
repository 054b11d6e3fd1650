/** What every request gets: an id that the caller, the answer and the log share, and one log line at its end. */
import { randomUUID } from 'node:crypto';
import type { MiddlewareHandler } from 'hono';
import type { AppDeps, AppTypes } from './deps.js';
import { traceless } from './problem.js';

const acceptedId = /^[A-Za-z0-9._-]{8,64}$/;

/** Takes `x-request-id` over if it is short and plain, makes one otherwise, and echoes it. */
export function nameRequest(): MiddlewareHandler<AppTypes> {
  return async function nameRequest(c, next) {
    const given = c.req.header('x-request-id');
    const id = given !== undefined && acceptedId.test(given) ? given : randomUUID();
    c.set('requestId', id);
    await next();
    c.header('x-request-id', id);
  };
}

/** The path of an approval link ends with the key to it. */
const withoutToken = (path: string): string => path.replace(/^(\/api\/ops\/links\/).+/, '$1…');

/** Paths are logged without their query; whatever made an answer a 5xx is named in the log, here and nowhere else. */
export function logRequest({ log, now }: AppDeps): MiddlewareHandler<AppTypes> {
  return async function logRequest(c, next) {
    const startedAt = now().getTime();
    await next();
    const fields = {
      event: 'http.answered',
      request_id: c.get('requestId'),
      actor: c.get('actor'),
      method: c.req.method,
      path: withoutToken(c.req.path),
      status: c.res.status,
      duration_ms: now().getTime() - startedAt,
    };
    if (c.res.status < 500) log.info(fields);
    else {
      const error = c.error === undefined ? undefined : traceless(c.error);
      log.error({ ...fields, code: error?.code, error });
    }
  };
}
