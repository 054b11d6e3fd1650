/** What an openclaw step may ask for, and what it gets back. Which of it is granted is the policy's to say. */
import { z } from 'zod';
import { openclawThinkingLevels } from '../../../supabase/client/schemas/policies.js';

/** In UTF-8 this stays below the 4 MiB that `openclaw agent --message-file` takes (OpenClaw, docs/cli/agent.md). */
const maxMessageChars = 1_000_000;

/** Words of the command line: no blank, no control character, nothing that could be read as an option. */
const name = (example: string) =>
  z
    .string()
    .max(200)
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.:@/+-]*$/)
    .describe(`a name such as "${example}"`);
/** Chats and people: `#reports`, `+15555550123`, and groups whose number is negative. */
const recipient = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9#@+_-][A-Za-z0-9#@+_.:/=-]*$/)
  .describe('a recipient such as "#reports" or "+15555550123"');
const model = name('openai/gpt-5.4');
const agent = name('ops');
const sessionKey = name('incident-42');

const common = {
  /** What to do, in the operator's words. It never stands on a command line. Text from outside belongs into `input`. */
  message: z.string().min(1).max(maxMessageChars),
  /** Data from outside, any JSON: stripped, cut, fenced as untrusted and put under the message. */
  input: z.unknown().optional(),
  /** Has to be granted by `allowed_openclaw_models`; without it OpenClaw's own setting holds. */
  model: model.optional(),
  /** OpenClaw's own deadline. Without it only the step's timeout ends the run. */
  timeout_seconds: z.int().min(1).max(604_800).optional(),
};
const thinking = z.enum(openclawThinkingLevels).optional();

/** `openclaw agent exec`: one run without a Gateway. */
export const ExecParams = z.strictObject({
  mode: z.literal('exec'),
  ...common,
  /** Models to fall back to, in order; needs `model`. */
  fallbacks: z.array(model).max(10).optional(),
  thinking,
  /** Tools of this run by their OpenClaw names or groups; without it the agent has none at all. */
  tools: z
    .array(
      z
        .string()
        .max(200)
        .regex(/^[A-Za-z0-9*][A-Za-z0-9_.:*-]*$/)
        .describe('the name of a tool such as "read" or "group:fs"'),
    )
    .max(100)
    .optional(),
  /** An existing directory inside the workspace; without it the mission's own. */
  directory: z.string().min(1).max(1_000).optional(),
});

/** `openclaw agent`: a turn of a named agent through the Gateway. */
export const AgentParams = z.strictObject({
  mode: z.literal('agent'),
  ...common,
  thinking,
  /** Has to be granted by `allowed_openclaw_agents`; without it the default agent, granted as `default`. */
  agent: agent.optional(),
  session_key: sessionKey.optional(),
  session_id: name('1234').optional(),
  /** The recipient that a session is derived from. */
  to: recipient.optional(),
  channel: name('slack').optional(),
  verbose: z.enum(['on', 'off']).optional(),
  /** Sends the reply out, to `reply_to` or where the session talks. */
  deliver: z.boolean().optional(),
  reply_channel: name('slack').optional(),
  reply_to: recipient.optional(),
  reply_account: name('work').optional(),
  /** Runs it in this process instead of the Gateway. */
  local: z.boolean().optional(),
});

/** The Gateway's OpenAI-compatible endpoint, over HTTP. */
export const GatewayParams = z.strictObject({
  mode: z.literal('gateway'),
  ...common,
  agent: agent.optional(),
  session_key: sessionKey.optional(),
  max_tokens: z.int().min(1).max(10_000_000).optional(),
  temperature: z.number().min(0).max(2).optional(),
});

export const Params = z.discriminatedUnion('mode', [ExecParams, AgentParams, GatewayParams]);
export type Params = z.output<typeof Params>;
export type ExecParams = z.output<typeof ExecParams>;
export type AgentParams = z.output<typeof AgentParams>;
export type GatewayParams = z.output<typeof GatewayParams>;

/** Half of what a result may hold: the other half is for whatever stands beside it. */
export const maxTextChars = 500_000;

export const Result = z.object({
  mode: z.enum(['exec', 'agent', 'gateway']),
  /** Empty when the agent said nothing, as those do that answer through a tool. */
  text: z.string(),
  /** The text was longer than its bound or than the model's, and is cut. */
  truncated: z.boolean(),
  /** Addresses of what it sent beside text. */
  media: z.array(z.string()),
  model: z.string().nullable(),
  provider: z.string().nullable(),
  session_id: z.string().nullable(),
  run_id: z.string().nullable(),
  usage: z
    .object({ input_tokens: z.number(), output_tokens: z.number(), total_tokens: z.number() })
    .nullable(),
  /** US dollars; null when OpenClaw does not know what the model costs. */
  cost_usd: z.number().nullable(),
  tool_calls: z.number().nullable(),
  tools: z.array(z.string()),
  /** `sent` or `suppressed`, when the reply was to be delivered. */
  delivery: z.string().nullable(),
  /** Of OpenClaw; null over HTTP. */
  version: z.string().nullable(),
});
export type Result = z.output<typeof Result>;
