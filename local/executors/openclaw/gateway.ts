/** One turn through the OpenAI-compatible endpoint of an OpenClaw Gateway (OpenClaw, docs/gateway/openai-http-api.md). */
import type { StepContext } from '../contract.js';
import { judgeGateway } from './gateway-verdict.js';
import type { GatewayParams } from './params.js';
import { reach } from './reach.js';
import type { Said } from './said.js';
import type { Settings } from './settings.js';

export type GatewayContext = Pick<StepContext, 'signal' | 'idempotencyKey' | 'secret'>;

/** Answers are text; what is longer would be cut anyway. */
const keepBytes = 8 * 1024 * 1024;

/**
 * Throws a `StepError`. When it is aborted the connection ends, and the Gateway cancels the run. The answer is not
 * streamed: half of one is of no use to a step.
 */
export async function askGateway(
  ctx: GatewayContext,
  params: GatewayParams,
  message: string,
  { gatewayUrl }: Settings,
): Promise<Said> {
  const bound = params.timeout_seconds;
  const signal =
    bound === undefined ? ctx.signal : AbortSignal.any([ctx.signal, AbortSignal.timeout(bound * 1_000)]);
  const exchanged = await reach({
    ...{ gatewayUrl, path: '/v1/chat/completions', token: ctx.secret('OPENCLAW_GATEWAY_TOKEN') },
    headers: { ...headersOf(params), 'idempotency-key': ctx.idempotencyKey },
    body: bodyOf(params, message),
    ...{ signal, keepBytes },
  });
  return judgeGateway(exchanged, { aborted: ctx.signal.aborted, timedOut: signal.aborted });
}

/** The model of the request is an agent; the model that it thinks with goes into a header. */
const bodyOf = ({ agent, max_tokens, temperature }: GatewayParams, message: string) => ({
  model: `openclaw/${agent ?? 'default'}`,
  messages: [{ role: 'user', content: message }],
  ...(max_tokens !== undefined && { max_completion_tokens: max_tokens }),
  ...(temperature !== undefined && { temperature }),
});

const headersOf = ({ model, session_key }: GatewayParams): Record<string, string> => ({
  ...(model !== undefined && { 'x-openclaw-model': model }),
  ...(session_key !== undefined && { 'x-openclaw-session-key': session_key }),
});
