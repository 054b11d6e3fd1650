/** The agent executor against the stand-in model server: settings, roles, and what one attempt came to. */
import { afterAll } from 'vitest';
import { type ModelServer, type Reply, startModelServer, type Told } from '../../local/demo/model.js';
import { createAgent } from '../../local/executors/agent/agent.js';
import { Health, type HealthOptions } from '../../local/executors/agent/health.js';
import type { Policies } from '../../local/executors/contract.js';
import { type Surroundings, startStep } from './kit.js';

export type { Reply };
/** Long enough that it would be cut out of a result if it got into one. */
export const key = 'sk-canary-0123456789abcdef';

const servers: ModelServer[] = [];
/** Closed with the file. */
export async function serve(
  reply: Reply | Reply[] | ((told: Told, count: number) => Reply),
): Promise<ModelServer> {
  const script = typeof reply === 'function' ? reply : inTurn([reply].flat());
  const server = await startModelServer(script);
  servers.push(server);
  return server;
}
export const closeServers = () =>
  afterAll(() => Promise.all(servers.splice(0).map((server) => server.close())));

/** The last one again and again. */
const inTurn = (replies: Reply[]) => (_told: Told, count: number) =>
  replies[Math.min(count, replies.length - 1)] ?? { status: 500 };

/** An address where nobody listens. */
export const nowhere = 'http://127.0.0.1:9/v1';

export const policies = (over: Partial<Policies> = {}): Policies => ({
  worker_policy: { allowed_tools: ['radar_list', 'radar_add'] },
  agent_roles: { sage: { instructions: 'You judge.' }, scout: { tools: ['radar_list'] } },
  ...over,
});

/** One provider named `custom`, or with a second address `openai` before it. */
export const settings = (custom: { url: string }, first?: { url: string }): Record<string, string> => ({
  OPS_LLM_PROVIDERS: first === undefined ? 'custom' : 'openai,custom',
  OPS_LLM_CUSTOM_BASE_URL: custom.url,
  OPS_LLM_CUSTOM_API_KEY: key,
  OPS_LLM_CUSTOM_MODEL: 'small-model',
  OPS_LLM_CUSTOM_USD_PER_MILLION: '1/2',
  ...(first && {
    OPENAI_BASE_URL: first.url,
    OPENAI_API_KEY: `${key}-openai`,
    OPENAI_MODEL: 'large-model',
    OPENAI_USD_PER_MILLION: '10/20',
  }),
});

export type Case = Surroundings & { health?: Health; breaker?: HealthOptions };

/** Starts one attempt of `agent` with breakers of its own. */
export function start(params: object, { health, breaker, ...around }: Case) {
  const agent = createAgent({ health: health ?? new Health(breaker) });
  return startStep(
    agent,
    { role: 'sage', prompt: 'Judge this.', ...params },
    { policies: policies(), ...around },
  );
}

/** What one attempt came to: its result or failure, and what it reported as used. */
export async function think(params: object, given: Case) {
  const run = start(params, given);
  const outcome = await run.outcome;
  return {
    result: outcome.kind === 'complete' ? (outcome.result as Record<string, unknown>) : undefined,
    failure: outcome.kind === 'fail' ? outcome.failure : undefined,
    outcome,
    meta: run.scope.meta ?? {},
  };
}

/** The prompts of a request, by role. */
export const prompts = ({ body }: Told): [string, string][] =>
  body.messages.map(({ role, content }) => [role, content ?? '']);
