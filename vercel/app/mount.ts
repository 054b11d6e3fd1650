/** From a table of routes to an app: ids, log line and headers for every request, one way for every error. */
import { Hono } from 'hono';
import { fromDatabase, OpsError } from '../../supabase/client/errors.js';
import type { AppContext, AppDeps, AppTypes, Gate, Handler } from './deps.js';
import type { Endpoint } from './endpoint.js';
import { guardHeaders } from './headers.js';
import { answerError, Refusal } from './problem.js';
import { logRequest, nameRequest } from './request.js';

export type App = Hono<AppTypes>;
export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';
/** Every handler says what it takes and answers, or it cannot be mounted. */
export type Route = [method: Method, path: string, who: Gate, handler: Endpoint];

/** HEAD comes with every GET; a method that a known path does not have is 405, not 404. */
export function mount(deps: AppDeps, table: Route[]): App {
  const app: App = new Hono<AppTypes>({ strict: false });
  app.use(nameRequest(), logRequest(deps), guardHeaders());
  for (const [method, path, who, handler] of table) app.on(method, path, (c) => admit(c, who, handler));
  for (const path of new Set(table.map(([, path]) => path))) {
    const methods = table.filter(([, p]) => p === path).map(([method]) => method);
    app.all(path, (c) => answerError(noMethod(c, methods), c));
  }
  app.notFound((c) => answerError(noRoute(), c));
  app.onError(async (error, c) => {
    await deps.reportError?.(error, `${c.req.method} ${c.req.routePath}`);
    return answerError(error, c);
  });
  return app;
}

async function admit(c: AppContext, who: Gate, handler: Handler): Promise<Response> {
  try {
    await who(c);
    return await handler(c);
  } catch (thrown) {
    // hono takes nothing but an Error to `onError`.
    throw thrown instanceof Error ? thrown : fromDatabase(thrown);
  }
}

const noRoute = (): OpsError =>
  new OpsError('OPS_012', 'there is nothing at this address', { hint: 'The routes begin with /api/ops.' });

function noMethod(c: AppContext, methods: string[]): Refusal {
  const allowed = methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ');
  return new Refusal('OPS_011', `${c.req.method} is not possible here`, {
    status: 405,
    hint: `Use ${allowed}.`,
    headers: { Allow: allowed },
  });
}
