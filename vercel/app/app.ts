/**
 * The control plane as one web-standard app: `Request` in, `Response` out. Vercel's functions and the local server
 * mount it; tests call `app.request()`. The table below is every route there is, and who may call it: the names of the
 * gates are those of `demands` in auth.ts.
 */
import { createDoor, type Door } from './auth.js';
import { showPage, showPageFile } from './dashboard.js';
import { discardDeadLetter, listDeadLetters, requeueDeadLetter, requeueDeadLetters } from './dead-letters.js';
import type { AppDeps } from './deps.js';
import { simulatePolicies, validatePolicy } from './drafts.js';
import { receiveEvents } from './events.js';
import { showHealth, showReadiness } from './health.js';
import { beat } from './heartbeat.js';
import { explain, showStatus, showTrace } from './insight.js';
import { followLink, showLink } from './links.js';
import { checkLlm, resetLlm, showLlmHealth } from './llm.js';
import { cancelMission, listMissions, retryMission, showMission } from './missions.js';
import { showAlerts, showMetrics } from './monitoring.js';
import { type App, mount, type Route } from './mount.js';
import { showOpenApi } from './openapi.js';
import { showOverview } from './overview.js';
import { listPolicies, rollbackPolicy, showPolicy, showPolicyHistory, writePolicy } from './policies.js';
import * as proposals from './proposals.js';
import { addSignal, listSignals, moveSignal, showSignal, showTopSignals } from './radar.js';
import { cancelStep, retryStep, showStep } from './steps.js';
import { streamChanges } from './stream.js';
import { receiveWebhook } from './webhooks.js';

export { parseWebhooks } from './env.js';
export { mintLoginToken } from './login.js';
export type { App } from './mount.js';

export function createApp(deps: AppDeps): App {
  const door = createDoor(deps);
  const table: Route[] = routes(deps, door);
  const document: Route = ['GET', '/api/ops/openapi.json', door.gates.anyone, showOpenApi(() => all, door)];
  const all = [...table, document];
  return mount(deps, all);
}

function routes(d: AppDeps, door: Door): Route[] {
  const { gates, sessions } = door;
  const { anyone, scheduler, heartbeat, ingest, viewer, operator, operatorOrPage, keyHolder } = gates;
  return [
    ['GET', '/api/ops/heartbeat', scheduler, beat(d)],
    ['POST', '/api/ops/heartbeat', heartbeat, beat(d)],
    ['POST', '/api/ops/events', ingest, receiveEvents(d)],
    // What proves the sender is the key here.
    ['POST', '/api/ops/webhooks/:source', anyone, receiveWebhook(d, door)],

    ['GET', '/api/ops/proposals', viewer, proposals.listProposals(d)],
    ['POST', '/api/ops/proposals', operator, proposals.createProposal(d)],
    ['POST', '/api/ops/proposals/:id/approve', operatorOrPage, proposals.approveProposal(d)],
    ['POST', '/api/ops/proposals/:id/reject', operatorOrPage, proposals.rejectProposal(d)],
    ['POST', '/api/ops/proposals/:id/vote', operatorOrPage, proposals.castVote(d)],
    ['POST', '/api/ops/proposals/:id/revise', operatorOrPage, proposals.reviseProposal(d)],
    // The token of the link is the key here.
    ['GET', '/api/ops/links/:token', anyone, showLink(d)],
    ['POST', '/api/ops/links/:token', anyone, followLink(d)],

    ['GET', '/api/ops/missions', viewer, listMissions(d)],
    ['GET', '/api/ops/missions/:id', viewer, showMission(d)],
    ['POST', '/api/ops/missions/:id/cancel', operator, cancelMission(d)],
    ['POST', '/api/ops/missions/:id/retry', operator, retryMission(d)],
    ['GET', '/api/ops/steps/:id', viewer, showStep(d)],
    ['POST', '/api/ops/steps/:id/retry', operator, retryStep(d)],
    ['POST', '/api/ops/steps/:id/cancel', operator, cancelStep(d)],
    ['GET', '/api/ops/dead-letters', viewer, listDeadLetters(d)],
    ['POST', '/api/ops/dead-letters/requeue-all', operator, requeueDeadLetters(d)],
    ['POST', '/api/ops/dead-letters/:id/requeue', operator, requeueDeadLetter(d)],
    ['POST', '/api/ops/dead-letters/:id/discard', operator, discardDeadLetter(d)],

    ['GET', '/api/ops/policies', viewer, listPolicies(d)],
    ['POST', '/api/ops/policies/simulate', viewer, simulatePolicies(d)],
    ['GET', '/api/ops/policies/:key', viewer, showPolicy(d)],
    ['PUT', '/api/ops/policies/:key', operator, writePolicy(d)],
    ['GET', '/api/ops/policies/:key/history', viewer, showPolicyHistory(d)],
    ['POST', '/api/ops/policies/:key/validate', viewer, validatePolicy(d)],
    ['POST', '/api/ops/policies/:key/rollback', operator, rollbackPolicy(d)],

    ['GET', '/api/ops/radar', viewer, listSignals(d)],
    ['POST', '/api/ops/radar', operator, addSignal(d)],
    ['GET', '/api/ops/radar/top', viewer, showTopSignals(d)],
    ['GET', '/api/ops/radar/:id', viewer, showSignal(d)],
    ['POST', '/api/ops/radar/:id/move', operator, moveSignal(d)],

    ['GET', '/api/ops/llm/health', viewer, showLlmHealth(d)],
    ['POST', '/api/ops/llm/reset', operator, resetLlm(d)],
    ['POST', '/api/ops/llm/check', operator, checkLlm(d)],

    ['GET', '/api/ops/status', viewer, showStatus(d)],
    ['GET', '/api/ops/alerts', viewer, showAlerts(d)],
    ['GET', '/api/ops/metrics', viewer, showMetrics(d)],
    ['GET', '/api/ops/why/:id', viewer, explain(d)],
    ['GET', '/api/ops/trace/:id', viewer, showTrace(d)],
    ['GET', '/api/ops/overview', viewer, showOverview(d)],
    ['GET', '/api/ops/stream', viewer, streamChanges(d)],

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
    ['GET', '/dashboard/:file', anyone, showPageFile()],
  ];
}
