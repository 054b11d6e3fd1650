/**
 * `/api/ops/llm`: how the model providers are as the workers see them, having their breakers closed, and trying one.
 * No model is called from here: workers have the keys, and calls are paid for, so a check is a mission like any other.
 */
import { z } from 'zod';
import { AgentRoles } from '../../supabase/client/schemas/policies.js';
import { defaultMaxKeys, readOptionalJson } from './body.js';
import type { AppContext, AppDeps, Handler } from './deps.js';
import { checkInput } from './input.js';
import { proposer } from './proposals.js';

const Reset = z.strictObject({
  /** All, when it is left out. */
  provider: z.string().min(1).max(100).optional(),
});
const Check = z.strictObject({ role: AgentRoles.keyof().default('observer') });

/** `{status, at, providers}`; 200 whatever the status is, since the answer itself is sound. */
export function showLlmHealth({ port }: AppDeps): Handler {
  return async (c) => c.json(await port.llmHealth());
}

/** 202 with the workers that will do it with their next report. */
export function resetLlm(deps: AppDeps): Handler {
  return async function resetLlm(c) {
    const { provider } = checkInput(Reset, await body(c, deps));
    return c.json(await deps.port.resetLlm(provider === undefined ? {} : { provider }), 202);
  };
}

/**
 * 202 with the proposal of one small call, gated like any other: `mission_id` is null while it waits for approval. The
 * result of its step names the provider that was used; `GET /api/ops/why/<mission_id>` shows it.
 */
export function checkLlm(deps: AppDeps): Handler {
  return async function checkLlm(c) {
    const { role } = checkInput(Check, await body(c, deps));
    const asked = { template: checkTemplate(role), source: 'api', ...proposer(c.get('identity')) };
    return c.json(await deps.port.createProposal(asked), 202);
  };
}

/** Enough for a word, and for models that think before they say it. */
const checkTokens = 256;

const checkTemplate = (role: string) => ({
  title: `Check the language models as ${role}`,
  risk_level: 'low',
  steps: [
    {
      key: 'check',
      kind: 'agent',
      max_retries: 1,
      params: { role, prompt: 'Answer with the one word: ok', max_tokens: checkTokens, tools: [] },
    },
  ],
});

const body = (c: AppContext, { env }: AppDeps): Promise<unknown> =>
  readOptionalJson(c.req.raw, { maxBytes: env.OPS_MAX_BODY_BYTES, maxKeys: defaultMaxKeys });
