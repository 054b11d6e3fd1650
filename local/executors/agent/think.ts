/** A role, a task and what both grant, made into a conversation with a model. */
import { type StepContext, StepError } from '../contract.js';
import { converse } from './conversation.js';
import type { Health } from './health.js';
import type { Meter } from './meter.js';
import { outputReader } from './output.js';
import type { Params } from './params.js';
import { readPrices } from './prices.js';
import { opening } from './prompts.js';
import { readModelSettings } from './providers.js';
import { candidatesOf, readAllowedTools, readRole, settingsOf } from './role.js';
import { askInOrder } from './route.js';
import { grantedTools } from './tools.js';

type ThinkContext = Pick<
  StepContext,
  'signal' | 'stepId' | 'leaseEpoch' | 'role' | 'log' | 'secret' | 'setting' | 'config' | 'db'
>;

/**
 * The answer with who gave it and what it used. Everything that can be refused is refused before the first call.
 * Throws `StepError`, or the reason of the signal.
 */
export async function think(
  ctx: ThinkContext,
  params: Params,
  { health, meter }: { health: Health; meter: Meter },
) {
  requireFixedRole(ctx, params);
  const { worker_policy, agent_roles } = ctx.config;
  const role = readRole(agent_roles, params.role);
  const { providers, timeoutMs } = readModelSettings((name) => ctx.setting(name));
  const candidates = candidatesOf(providers, {
    role,
    model: params.model,
    prices: readPrices(worker_policy),
  });
  const wanted = params.tools;
  const tools = grantedTools({ role: role.tools ?? [], policy: readAllowedTools(worker_policy), wanted });
  const reader = params.output === undefined ? undefined : outputReader(params.output);
  const { signal, log } = ctx;
  const secret = (name: string) => ctx.secret(name);
  const route = { health, secret, signal, timeoutMs, log, onCall: meter.add, now: () => performance.now() };
  const { by, ...said } = await converse({
    ask: (question) => askInOrder(candidates, question, route),
    opening: opening({ role, params, tools, reader }),
    settings: settingsOf(role, params.max_tokens),
    tools,
    reader,
    ctx,
  });
  return { ...said, role: params.role, provider: by.provider, model: by.model, ...meter.used() };
}

/** The engine read the role when the mission was made; one that was filled in later would pass by its switches. */
function requireFixedRole({ role }: ThinkContext, params: Params): void {
  if (role === null || role === params.role) return;
  throw new StepError(
    `the role of an agent step has to be fixed text, not a placeholder that becomes ${params.role}`,
    {
      outcome: 'permanent',
      errorClass: 'InvalidParams',
    },
  );
}
