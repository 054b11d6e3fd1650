/**
 * The control plane as one web-standard app: `Request` in, `Response` out. Vercel's functions and the local server
 * mount it; tests call `app.request()`. The table below is every route there is, and who may call it: the names of the
 * gates are those of `demands` in auth.ts.
 */
import { Hono } from 'hono';
import { fromDatabase, OpsError } from '../../supabase/client/errors.js';
import { createDoor } from './auth.js';
import { showPage } from './dashboard.js';
import { listDeadLetters } from './dead-letters.js';
import type { AppContext, AppDeps, AppTypes, Gate, Handler } from './deps.js';
import { receiveEvents } from './events.js';
import { guardHeaders } from './headers.js';
import { showHealth, showReadiness } from './health.js';
import { beat } from './heartbeat.js';
import { explain, showStatus, showTrace } from './insight.js';
import { followLink, showLink } from './links.js';
import { checkLlm, resetLlm, showLlmHealth } from './llm.js';
import { showOverview } from './overview.js';
import { answerError, Refusal } from './problem.js';
import { castVote, createProposal, decideProposal, listProposals, reviseProposal } from './proposals.js';
import { addSignal, listSignals, moveSignal, showSignal, showTopSignals } from './radar.js';
import { logRequest, nameRequest } from './request.js';
import { receiveWebhook } from './webhooks.js';

export { mintLoginToken } from './login.js';
export type App = Hono<AppTypes>;
type Route = [method: 'GET' | 'POST' | 'DELETE', path: string, who: Gate, handler: Handler];

export function createApp(deps: AppDeps): App {
  const app: App = new Hono<AppTypes>({ strict: false });
  app.use(nameRequest(), logRequest(deps), guardHeaders());
  mount(app, routes(deps));
  app.notFound((c) => answerError(noRoute(), c));
  app.onError((error, c) => answerError(error, c));
  return app;
}

function routes(d: AppDeps): Route[] {
  const { gates, sessions } = createDoor(d);
  const { anyone, scheduler, heartbeat, ingest, viewer, operator, operatorOrPage, keyHolder } = gates;
  return [
    ['GET', '/api/ops/heartbeat', scheduler, beat(d)],
    ['POST', '/api/ops/heartbeat', heartbeat, beat(d)],
    ['POST', '/api/ops/events', ingest, receiveEvents(d)],
    // The signature over the body is the key here.
    ['POST', '/api/ops/webhooks/:source', anyone, receiveWebhook(d)],

    ['GET', '/api/ops/proposals', viewer, listProposals(d)],
    ['POST', '/api/ops/proposals', operator, createProposal(d)],
    ['POST', '/api/ops/proposals/:id/approve', operatorOrPage, decideProposal(d, 'approveProposal')],
    ['POST', '/api/ops/proposals/:id/reject', operatorOrPage, decideProposal(d, 'rejectProposal')],
    ['POST', '/api/ops/proposals/:id/vote', operatorOrPage, castVote(d)],
    ['POST', '/api/ops/proposals/:id/revise', operatorOrPage, reviseProposal(d)],
    // The token of the link is the key here.
    ['GET', '/api/ops/links/:token', anyone, showLink(d)],
    ['POST', '/api/ops/links/:token', anyone, followLink(d)],
    ['GET', '/api/ops/dead-letters', viewer, listDeadLetters(d)],

    ['GET', '/api/ops/radar', viewer, listSignals(d)],
    ['POST', '/api/ops/radar', operator, addSignal(d)],
    ['GET', '/api/ops/radar/top', viewer, showTopSignals(d)],
    ['GET', '/api/ops/radar/:id', viewer, showSignal(d)],
    ['POST', '/api/ops/radar/:id/move', operator, moveSignal(d)],

    ['GET', '/api/ops/llm/health', viewer, showLlmHealth(d)],
    ['POST', '/api/ops/llm/reset', operator, resetLlm(d)],
    ['POST', '/api/ops/llm/check', operator, checkLlm(d)],

    ['GET', '/api/ops/status', viewer, showStatus(d)],
    ['GET', '/api/ops/why/:id', viewer, explain(d)],
    ['GET', '/api/ops/trace/:id', viewer, showTrace(d)],
    ['GET', '/api/ops/overview', viewer, showOverview(d)],

    // A login token is the key here.
    ['POST', '/api/ops/session', anyone, sessions.open],
    ['DELETE', '/api/ops/session', anyone, sessions.close],
    ['POST', '/api/ops/session/link', keyHolder, sessions.link],

    ['GET', '/api/ops/health', anyone, showHealth(d)],
    ['GET', '/api/health', anyone, showHealth(d)],
    ['GET', '/health', anyone, showHealth(d)],
    ['GET', '/api/ops/ready', anyone, showReadiness(d)],
    ['GET', '/health/ready', anyone, showReadiness(d)],

    ['GET', '/', anyone, showPage()],
    ['GET', '/dashboard/:file', anyone, showPage()],
  ];
}

/** HEAD comes with every GET; a method that a known path does not have is 405, not 404. */
function mount(app: App, table: Route[]): void {
  for (const [method, path, who, handler] of table) app.on(method, path, (c) => admit(c, who, handler));
  for (const path of new Set(table.map(([, path]) => path))) {
    const methods = table.filter(([, p]) => p === path).map(([method]) => method);
    app.all(path, (c) => answerError(noMethod(c, methods), c));
  }
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
