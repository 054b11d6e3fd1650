/**
 * `/api/ops/llm`: how the model providers are as the workers see them, having their breakers closed, and trying one.
 * No model is called from here: workers have the keys, and calls are paid for, so a check is a mission like any other.
 */
import { z } from 'zod';
import { AgentRoles } from '../../supabase/client/schemas/policies.js';
import { LlmHealth, ProposalReceipt } from '../../supabase/client/schemas/rows.js';
import { answers, endpoint } from './endpoint.js';
import { proposer } from './proposals.js';

const Reset = z.strictObject({
  /** All, when it is left out. */
  provider: z.string().min(1).max(100).optional(),
});
const Check = z.strictObject({ role: AgentRoles.keyof().default('observer') });

export const showLlmHealth = endpoint(
  {
    summary: 'How the model providers are, as the workers see them',
    answers: { 200: answers('Whatever `status` says: the answer itself is sound.', LlmHealth) },
  },
  async (c, _, { port }) => c.json(await port.llmHealth()),
);

export const resetLlm = endpoint(
  {
    summary: 'Has the breakers of one provider, or of all, closed',
    body: Reset,
    bodyMayBeEmpty: true,
    answers: {
      202: answers(
        'The workers that will do it with their next report.',
        z.object({ workers: z.array(z.string()) }),
      ),
    },
  },
  async (c, { body }, { port }) => c.json(await port.resetLlm(body), 202),
);

/** The result of its step names the provider that was used; `GET /api/ops/why/<mission_id>` shows it. */
export const checkLlm = endpoint(
  {
    summary: 'Proposes one small call of a model',
    body: Check,
    bodyMayBeEmpty: true,
    answers: {
      202: answers(
        'The proposal, gated like any other: `mission_id` is null while it waits.',
        ProposalReceipt,
      ),
    },
  },
  async (c, { body: { role } }, { port }) => {
    const asked = { template: checkTemplate(role), source: 'api', ...proposer(c.get('identity')) };
    return c.json(await port.createProposal(asked), 202);
  },
);

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
