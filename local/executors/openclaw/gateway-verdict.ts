/**
 * What a Gateway's answer means for its step. Pure. A Gateway passes errors of its model's provider on, statuses and all,
 * so they may come after its agent has acted; their types tell them apart (tried with 2026.9.6).
 *
 * | what happened | outcome |
 * |---|---|
 * | 200 with a choice | the answer |
 * | never connected | retryable |
 * | an error of the model's provider | unknown |
 * | 401, 403, 405, 413 and others below 500, 400 and 404 in the Gateway's own words | permanent |
 * | 408, 409, 425, 503 | retryable: it was not admitted and will not start later |
 * | 429 | rate_limited: the Gateway's own limit on logins |
 * | other 5xx, a broken connection, time run out, nothing readable | unknown |
 */
import { z } from 'zod';
import { jsonOf } from '../../process/last-json.js';
import { StepError } from '../contract.js';
import type { Answer, Exchanged } from '../http/exchange.js';
import { retryAfter } from '../http/outcome.js';
import { notStarted } from './not-started.js';
import type { Said } from './said.js';

const amount = z.number().nonnegative().optional().catch(undefined);
const Completion = z.object({
  id: z.string().optional().catch(undefined),
  choices: z.tuple(
    [z.object({ message: z.object({ content: z.string() }), finish_reason: z.string().nullish() })],
    z.unknown(),
  ),
  usage: z
    .object({ prompt_tokens: amount, completion_tokens: amount, total_tokens: amount })
    .optional()
    .catch(undefined),
});
const Problem = z.object({ error: z.object({ message: z.string().catch(''), type: z.string().catch('') }) });

export function judgeGateway(
  exchanged: Exchanged,
  { aborted, timedOut }: { aborted: boolean; timedOut: boolean },
): Said {
  if (exchanged.ok) return judgeAnswer(exchanged.answer);
  const { sent, cause } = exchanged;
  if (!sent) throw aborted ? notStarted() : notSent(cause);
  if (aborted) throw unknown('Interrupted', 'the turn was ended from outside');
  if (timedOut) throw unknown('TimedOut', 'the Gateway gave no answer in time');
  throw unknown('GatewayLost', `the connection to the Gateway broke (${codeOf(cause)})`);
}

const notSent = (cause: unknown): StepError =>
  new StepError(`the OpenClaw Gateway was not reached (${codeOf(cause)}); nothing was sent`, {
    errorClass: 'GatewayAway',
    hint: 'Start the Gateway, or correct OPENCLAW_GATEWAY_URL.',
  });

const codeOf = (cause: unknown): string => {
  const { code, name } = (cause ?? {}) as { code?: unknown; name?: unknown };
  return String(code ?? name ?? 'unknown reason');
};

/** Types of errors that came from behind the Gateway. */
const ofProvider = new Set([
  'authentication_error',
  'permission_error',
  'rate_limit_error',
  'insufficient_quota',
  'api_error',
]);
/** A format that a provider refuses has the same status and type as a request that the Gateway refuses. */
const ownWords = /^(unknown (agent|model)|missing user message|invalid |unsupported )/i;
const excerptChars = 500;

function judgeAnswer(answer: Answer): Said {
  const { status } = answer;
  if (status === 200) return readCompletion(answer);
  const { message, type } = problemOf(answer);
  const what = `the Gateway answered ${status}${message && `: ${message.slice(0, excerptChars)}`}`;
  const errorClass = `HTTP ${status}`;
  const retryAfterSeconds = retryAfter(answer);
  if (ofProvider.has(type)) throw unknown(errorClass, what);
  if (status === 429) throw new StepError(what, { outcome: 'rate_limited', retryAfterSeconds, errorClass });
  if ([408, 409, 425, 503].includes(status)) throw new StepError(what, { retryAfterSeconds, errorClass });
  const isOwn = type === '' || status === 401 || status === 403 || ownWords.test(message);
  if (status >= 500 || !isOwn) throw unknown(errorClass, what);
  throw new StepError(what, { outcome: 'permanent', errorClass, hint: hintOf(status) });
}

const hintOf = (status: number): string => {
  if (status === 401) return "Set OPENCLAW_GATEWAY_TOKEN to the Gateway's token or password.";
  if (status === 404 || status === 405)
    return 'Switch the endpoint on in the Gateway: gateway.http.endpoints.chatCompletions.enabled.';
  return 'Correct the parameters of the step.';
};

function problemOf({ text }: Answer): { message: string; type: string } {
  const parsed = Problem.safeParse(jsonOf(text));
  return parsed.success ? parsed.data.error : { message: '', type: '' };
}

function readCompletion({ text, truncated }: Answer): Said {
  const parsed = Completion.safeParse(truncated ? undefined : jsonOf(text));
  if (!parsed.success) throw unknown('Unreadable', 'the Gateway answered what cannot be read');
  const { id, choices, usage } = parsed.data;
  const [{ message, finish_reason }] = choices;
  if (finish_reason === 'tool_calls')
    throw unknown('Unreadable', 'the agent asked for a tool that nobody offered');
  return {
    ...{ shape: 'gateway', status: 'ok', failed: false, message: '', text: message.content },
    ...{ media: [], tools: [], runId: id, cutOff: finish_reason === 'length' },
    usage: usageOf(usage),
    ...{ usd: undefined, model: undefined, provider: undefined, sessionId: undefined },
    ...{ toolCalls: undefined, delivery: undefined, fallback: undefined },
  };
}

function usageOf(usage: z.output<typeof Completion>['usage']): Said['usage'] {
  const { prompt_tokens: input, completion_tokens: output, total_tokens: total } = usage ?? {};
  // A Gateway whose provider reported nothing says zero, and no turn goes without a token.
  if (input === undefined || output === undefined || input + output === 0) return undefined;
  return { input, output, total: total ?? input + output };
}

const unknown = (errorClass: string, what: string): StepError =>
  new StepError(`${what}; nobody knows how far it came`, {
    outcome: 'unknown',
    errorClass,
    hint: 'Look at the session in OpenClaw, then requeue or discard the dead letter.',
  });
