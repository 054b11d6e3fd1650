import { z } from 'zod';
import { AgentRoles } from '../../../supabase/client/schemas/policies.js';

export const Params = z.strictObject({
  /** Of the policy `agent_roles`. Fixed text, so that switches and budgets of the role hold from the start. */
  role: AgentRoles.keyof(),
  /** What to do, in the operator's words. Text from outside belongs into `input`. */
  prompt: z.string().min(1).max(50_000),
  /** Data from outside, any JSON: stripped, cut and fenced as untrusted. */
  input: z.unknown().optional(),
  /** JSON Schema that the answer must fit; without it the answer is text. */
  output: z.record(z.string(), z.unknown()).optional(),
  /** Fewer tools than the role has; a name that it has not is refused. */
  tools: z.array(z.string().min(1).max(100)).max(50).optional(),
  /** One of the role's `allowed_models`. */
  model: z.string().min(1).max(200).optional(),
  max_tokens: z.int().min(1).max(10_000_000).optional(),
});
export type Params = z.output<typeof Params>;

const Common = z.object({
  role: z.string(),
  provider: z.string(),
  model: z.string(),
  /** Of all calls together; null when a provider did not say. */
  usage: z.object({ input_tokens: z.number(), output_tokens: z.number() }).nullable(),
  /** US dollars; null when nobody knows what the model costs. */
  cost_usd: z.number().nullable(),
  /** Of all calls together. */
  latency_ms: z.number(),
});

/** `text`, or `output` when the step asked for a schema. */
export const Result = Common.extend({
  text: z.string().optional(),
  /** The text was longer than its bound and is cut. */
  truncated: z.boolean().optional(),
  output: z.unknown().optional(),
});
