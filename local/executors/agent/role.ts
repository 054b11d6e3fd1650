/** What a role of `agent_roles` grants and says. Pure. */
import { z } from 'zod';
import { AgentRole } from '../../../supabase/client/schemas/policies.js';
import { StepError } from '../contract.js';
import type { Json } from '../json.js';
import type { Question } from './call.js';
import { type Price, priceOf } from './prices.js';
import type { Provider } from './providers.js';
import type { Candidate } from './route.js';

export type Role = z.infer<typeof AgentRole>;

const permanent = (errorClass: string, message: string) =>
  new StepError(message, { outcome: 'permanent', errorClass });

/** Throws a permanent `StepError` when the policy has no such role. */
export function readRole(roles: Record<string, Json>, name: string): Role {
  const found = roles[name];
  if (found === undefined)
    throw permanent('RoleMissing', `the policy agent_roles has no role ${name}; add it, then retry the step`);
  const parsed = AgentRole.safeParse(found);
  if (parsed.success) return parsed.data;
  throw permanent(
    'RoleMissing',
    `the role ${name} is not one this worker understands: ${z.prettifyError(parsed.error)}`,
  );
}

const Names = z.array(z.string()).catch([]);
/** Missing means none. */
export const readAllowedTools = (policy: Record<string, Json>): string[] =>
  Names.parse(policy.allowed_tools ?? []);

export type Choice = { role: Role; model: string | undefined; prices: Record<string, Price> };

/**
 * Whom to ask, in order, and for which model: the step's, else the role's name for it at that provider, else the
 * role's, else the provider's own. Throws a permanent `StepError` for a model that the role does not grant.
 */
export function candidatesOf(
  providers: readonly Provider[],
  { role, model: wanted, prices }: Choice,
): Candidate[] {
  const granted = [role.model, ...(role.allowed_models ?? [])];
  if (wanted !== undefined && !granted.includes(wanted))
    throw permanent(
      'ModelNotGranted',
      `the role does not grant the model ${wanted}; its allowed_models have to name it`,
    );
  const chosen =
    role.providers?.flatMap((name) => providers.find((known) => known.name === name) ?? []) ?? providers;
  return chosen.map((provider) => {
    const model = wanted ?? role.models?.[provider.name] ?? role.model ?? provider.model;
    return { provider, model, price: model === undefined ? undefined : priceOf(provider, model, prices) };
  });
}

const efforts: Record<NonNullable<Role['thinking']>, Question['effort']> = {
  off: 'none',
  minimal: 'minimal',
  low: 'low',
  medium: 'medium',
  high: 'high',
  xhigh: 'xhigh',
  max: 'max',
  adaptive: undefined,
};

export const settingsOf = (
  { temperature, max_tokens, thinking }: Role,
  maxTokens: number | undefined,
): Pick<Question, 'temperature' | 'maxTokens' | 'effort'> => ({
  temperature,
  maxTokens: maxTokens ?? max_tokens,
  effort: thinking === undefined ? undefined : efforts[thinking],
});
