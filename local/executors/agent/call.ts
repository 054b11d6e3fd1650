/** One call to one provider, through the `openai` library. No retries: those are the engine's, with its backoff. */
import type OpenAI from 'openai';
import { z } from 'zod';
import { OpsError } from '../../../supabase/client/errors.js';
import { boundedFetch } from './bounded-fetch.js';
import { Fault, toFault } from './fault.js';
import type { Usage } from './prices.js';
import type { Provider } from './providers.js';

export type Message = OpenAI.Chat.Completions.ChatCompletionMessageParam;
export type ToolSpec = OpenAI.Chat.Completions.ChatCompletionFunctionTool;

export type Question = {
  messages: readonly Message[];
  tools: readonly ToolSpec[];
  /** JSON Schema of the answer. */
  schema?: Record<string, unknown> | undefined;
  /** The last word: tools may no longer be called. */
  final?: boolean;
  temperature?: number | undefined;
  maxTokens?: number | undefined;
  effort?: OpenAI.ReasoningEffort | undefined;
};

export type ToolCall = { id: string; name: string; arguments: string };
export type Answer = {
  text: string;
  toolCalls: ToolCall[];
  refusal: string | undefined;
  /** Cut off at the bound on its length. */
  cutOff: boolean;
  usage: Usage | undefined;
};

/** Room for 500,000 characters and whatever the API wraps them in; four of these at once are 8 MiB. */
const maxAnswerBytes = 2 * 1024 * 1024;
const maxToolCalls = 32;

const count = z.number().min(0);
const Completion = z.object({
  choices: z
    .array(
      z.object({
        finish_reason: z.string().nullish(),
        message: z.object({
          content: z.string().nullish(),
          refusal: z.string().nullish(),
          tool_calls: z
            .array(
              z.object({ id: z.string(), function: z.object({ name: z.string(), arguments: z.string() }) }),
            )
            .max(maxToolCalls)
            .nullish(),
        }),
      }),
    )
    .min(1),
  usage: z
    .object({ prompt_tokens: count, completion_tokens: count, cost: count.optional().catch(undefined) })
    .nullish()
    .catch(undefined),
});

export type CallDeps = { key: string | undefined; signal: AbortSignal; timeoutMs: number };

/** Throws a `Fault`, or the reason of the caller's signal when that took the call back. */
export async function callProvider(
  provider: Provider,
  model: string,
  question: Question,
  { key, signal, timeoutMs }: CallDeps,
): Promise<Answer> {
  if (key === undefined && !provider.keyless)
    throw new Fault('key', `has no key: ${provider.keyName} is not set`);
  const client = await connect(provider, key, timeoutMs);
  const late = AbortSignal.timeout(timeoutMs);
  try {
    const sent = client.chat.completions.create(request(provider, model, question), {
      signal: AbortSignal.any([signal, late]),
    });
    return notEmpty(readAnswer(await sent));
  } catch (error) {
    const timedOut = late.aborted || ranOut(signal);
    if (signal.aborted && !timedOut) throw signal.reason;
    throw toFault(error, timedOut);
  }
}

/** The step's time was up while the provider had not answered: that is the provider's fault as well. */
function ranOut({ aborted, reason }: AbortSignal): boolean {
  const detail: unknown = aborted && reason instanceof OpsError ? reason.detail : undefined;
  return typeof detail === 'object' && detail !== null && 'ending' in detail && detail.ending === 'timed_out';
}

/** The library is loaded at the first call: most workers and all other commands never need it. */
async function connect({ baseUrl }: Provider, key: string | undefined, timeoutMs: number): Promise<OpenAI> {
  const { default: Client } = await import('openai');
  return new Client({
    baseURL: baseUrl,
    // It insists on one; what is sent is up to our fetch.
    apiKey: 'none',
    maxRetries: 0,
    timeout: timeoutMs,
    fetch: boundedFetch({ maxBytes: maxAnswerBytes, key: key?.trim() }),
    // OPENAI_LOG would print prompts and keys.
    logLevel: 'off',
  });
}

function request(
  { lengthField, takesSchema }: Provider,
  model: string,
  { messages, tools, schema, final, temperature, maxTokens, effort }: Question,
): OpenAI.Chat.Completions.ChatCompletionCreateParamsNonStreaming {
  return {
    model,
    messages: [...messages],
    ...(tools.length > 0 && { tools: [...tools], tool_choice: final === true ? 'none' : 'auto' }),
    // Only once the tools are done with: some servers take the two together for an answer without tools.
    ...(schema !== undefined &&
      takesSchema &&
      tools.length === 0 && {
        response_format: { type: 'json_schema', json_schema: { name: 'answer', schema, strict: false } },
      }),
    ...(temperature !== undefined && { temperature }),
    ...(maxTokens !== undefined && { [lengthField]: maxTokens }),
    ...(effort !== undefined && { reasoning_effort: effort }),
  };
}

function readAnswer(body: unknown): Answer {
  const parsed = Completion.safeParse(body);
  if (!parsed.success) throw new Fault('answer', 'answered in another form than the API has');
  const [choice] = parsed.data.choices;
  const { usage } = parsed.data;
  const { content, refusal, tool_calls } = choice?.message ?? {};
  return {
    text: content ?? '',
    toolCalls: (tool_calls ?? []).map(({ id, function: { name, arguments: given } }) => ({
      id,
      name,
      arguments: given,
    })),
    refusal: refusal ?? (choice?.finish_reason === 'content_filter' ? 'content filter' : undefined),
    cutOff: choice?.finish_reason === 'length',
    usage: usage
      ? { input: usage.prompt_tokens, output: usage.completion_tokens, cost: usage.cost }
      : undefined,
  };
}

/** Nothing at all is no answer: a step must not succeed with it. */
function notEmpty(answer: Answer): Answer {
  const { text, toolCalls, refusal, cutOff, usage } = answer;
  if (text.trim() !== '' || toolCalls.length > 0 || refusal !== undefined || cutOff) return answer;
  throw new Fault('answer', 'gave an empty answer', { usage });
}
