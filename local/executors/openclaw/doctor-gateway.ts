/** Whether the Gateway answers, and lets us in. */
import type { Finding } from '../contract.js';
import { reach } from './reach.js';

const answerMs = 10_000;
const keepBytes = 64 * 1024;

/** Asks for its list of agents, which costs nothing and needs the same token as a turn. */
export async function examineGateway(gatewayUrl: string, token: string | undefined): Promise<Finding> {
  const bounds = { signal: AbortSignal.timeout(answerMs), keepBytes };
  const asked = await reach({ gatewayUrl, path: '/v1/models', token, ...bounds });
  if (!asked.ok)
    return problem(`no Gateway answers at ${gatewayUrl}`, 'Start it, or correct OPENCLAW_GATEWAY_URL.');
  const { status } = asked.answer;
  if (status === 200) return { name, ok: true, message: gatewayUrl };
  return status === 401
    ? problem('the Gateway refuses the token', 'Set OPENCLAW_GATEWAY_TOKEN.')
    : problem(
        `the Gateway answers ${status}`,
        'Switch its endpoint on: gateway.http.endpoints.chatCompletions.enabled.',
      );
}

const name = 'openclaw:gateway';
const problem = (message: string, hint: string): Finding => ({ name, ok: false, message, hint });
