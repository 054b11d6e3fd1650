/**
 * The app over a hand-made port: for what HTTP itself promises (who may call, what a body may be, how an error
 * reads). What the engine answers is proved in test/contract/http.test.ts, on a real one.
 */
import { createHmac } from 'node:crypto';
import type { OpsPort } from '../../supabase/client/port.js';
import { schemaVersion } from '../../supabase/client/terms.js';
import { type App, createApp } from '../../vercel/app/app.js';
import { parseControlEnv } from '../../vercel/app/env.js';

export const apiKey = `${'k'.repeat(31)}A`;
export const previousKey = `${'p'.repeat(31)}B`;
export const cronSecret = `${'c'.repeat(15)}D`;
export const githubSecret = "It's a Secret to Everybody";
export const now = new Date('2026-11-20T08:00:00.000Z');
export const someId = '0b8f3f56-6f0e-4f0c-9b3b-8d2a5a3e1c11';

export const secrets = {
  OPS_API_KEY: apiKey,
  OPS_API_KEY_PREVIOUS: previousKey,
  CRON_SECRET: cronSecret,
  GITHUB_WEBHOOK_SECRET: githubSecret,
};

type Line = Record<string, unknown>;
/** `calls` are those of handlers; what gates and sessions ask stands in `doorCalls`. */
export type TestApp = {
  app: App;
  calls: [string, unknown][];
  doorCalls: [string, unknown][];
  lines: Line[];
};

const doorMethods = [
  'seeSecrets',
  'checkKey',
  'takeRate',
  'openSession',
  'checkSession',
  'endSession',
] as const;

/** Each method records its call and answers what `answers` has under its name. */
export function testApp(
  answers: Partial<Record<keyof OpsPort, (args: never) => unknown>> = {},
  variables: Record<string, string> = secrets,
  at: () => Date = () => now,
): TestApp {
  const calls: TestApp['calls'] = [];
  const doorCalls: TestApp['calls'] = [];
  const lines: Line[] = [];
  const keep = (fields: Line) => void lines.push(fields);
  const all: Record<string, (args: never) => unknown> = { ...ordinaryAnswers, ...answers };
  const port = new Proxy({} as OpsPort, {
    get: (_, name: string) => async (args: unknown) => {
      (doorMethods.some((known) => known === name) ? doorCalls : calls).push([name, args]);
      const method = all[name];
      if (method === undefined) throw new Error(`no answer for ${name}`);
      return method(args as never);
    },
  });
  const app = createApp({
    port,
    env: parseControlEnv(variables),
    log: { info: keep, warn: keep, error: keep },
    now: at,
  });
  return { app, calls, doorCalls, lines };
}

export const round = {
  ok: true,
  more: false,
  beat_id: null,
  triggerResult: { events: 2, queued: 1 },
  reactionResult: { processed: 1, created: 1 },
  leaseResult: { requeued_steps: 0, failed_steps: 0 },
  staleResult: { recovered: 0 },
  gateResult: { gated: 0, approved: 0, rejected: 0, expired: 0 },
  scheduleResult: { fired: 0, missed: 0, unplanned: 0 },
  phases: 7,
  failures: [],
};

export const health = {
  status: 'healthy',
  schema_version: schemaVersion,
  last_beat_at: now.toISOString(),
  open_events: 0,
  oldest_open_event_seconds: null,
  queued_steps: 0,
  running_steps: 0,
  expired_leases: 0,
  pending_proposals: 0,
  open_dead_letters: 0,
  workers: 1,
  problems: [],
  violations: [],
};

const ordinaryAnswers = {
  seeSecrets: () => ({ OPS_API_KEY: 3_600, CRON_SECRET: 3_600 }),
  checkKey: () => null,
  takeRate: () => ({ allowed: true, left: 1, retry_after_seconds: 0 }),
  openSession: () => ({ opened: true, expires_at: new Date(now.getTime() + 12 * 3_600_000).toISOString() }),
  checkSession: () => ({ label: 'dashboard', scope: 'operator', key_id: null, lives_seconds: 3_600 }),
  endSession: () => ({ ended: true }),
  heartbeat: () => round,
  health: () => health,
  status: () => ({ events: {} }),
  listProposals: () => [],
  listWaiting: () => [],
  listDeadLetters: () => [],
  radarTop: () => [],
  emitEvents: ({ events }: { events: unknown[] }) =>
    events.map((_, position) => ({ position, id: someId, created: true, duplicate_of: null })),
  approveProposal: () => ({
    id: someId,
    status: 'approved',
    created: false,
    reason: null,
    mission_id: someId,
  }),
  rejectProposal: () => ({ id: someId, status: 'rejected', created: false, reason: null, mission_id: null }),
  createProposal: () => ({ id: someId, status: 'pending', created: true, reason: null, mission_id: null }),
  createProposals: () => [
    { position: 0, id: someId, status: 'pending', created: true, reason: null, mission_id: null },
  ],
};

export const bearer = (key: string): Record<string, string> => ({ Authorization: `Bearer ${key}` });
export const json = (body: unknown, headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  headers: { 'Content-Type': 'application/json', ...headers },
  body: typeof body === 'string' ? body : JSON.stringify(body),
});

export const sign = (body: string, secret = githubSecret): string =>
  `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;

/** A delivery as GitHub sends it. */
export function delivery(body: string, headers: Record<string, string> = {}): RequestInit {
  return json(body, {
    'X-GitHub-Event': 'issues',
    'X-GitHub-Delivery': '72d3162e-cc78-11e3-81ab-4c9367dc0958',
    'X-Hub-Signature-256': sign(body),
    ...headers,
  });
}

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into member by member
export const bodyOf = async (response: Response): Promise<any> => await response.json();
