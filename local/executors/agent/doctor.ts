/** What `ops-loop doctor` says about models, without calling one. */
import { AgentRoles } from '../../../supabase/client/schemas/policies.js';
import type { DoctorContext, Finding } from '../contract.js';
import { type Provider, readModelSettings } from './providers.js';
import { type Role, readAllowedTools } from './role.js';
import { tools } from './tools.js';

export async function examine(ctx: DoctorContext): Promise<Finding[]> {
  const { providers } = readModelSettings((name) => ctx.setting(name));
  const roles = Object.entries(AgentRoles.safeParse(ctx.config.agent_roles).data ?? {});
  if (providers.length === 0)
    return [
      {
        name: 'agent',
        ok: true,
        message: 'no model providers (OPS_LLM_PROVIDERS is not set); agent steps are refused',
      },
    ];
  return [
    ...providers.flatMap((provider) => ofProvider(provider, ctx)),
    ...roles.flatMap((role) => ofRole(role, ctx, providers)),
  ];
}

function ofProvider({ name, keyName, keyless }: Provider, ctx: DoctorContext): Finding[] {
  if (keyless || ctx.secret(keyName) !== undefined)
    return [{ name: `agent: ${name}`, ok: true, message: 'has what it needs' }];
  return [
    {
      name: `agent: ${name}`,
      ok: false,
      message: `${keyName} is not set`,
      hint: 'Set it, or take the provider out of OPS_LLM_PROVIDERS.',
    },
  ];
}

function ofRole(
  [name, role]: [string, Role | undefined],
  { config }: DoctorContext,
  providers: readonly Provider[],
): Finding[] {
  if (role === undefined) return [];
  const asked =
    role.providers?.flatMap((wanted) => providers.find((known) => known.name === wanted) ?? []) ?? providers;
  const nowhere = finding(
    name,
    'none of its providers is set up here',
    'Correct providers of the role, or OPS_LLM_PROVIDERS.',
  );
  return [
    ...idleTools(name, role, readAllowedTools(config.worker_policy)),
    ...(asked.length === 0 ? [nowhere] : withoutModel(name, role, asked)),
  ];
}

const idleTools = (name: string, role: Role, allowed: readonly string[]): Finding[] =>
  (role.tools ?? [])
    .filter((tool) => !allowed.includes(tool) || !tools.some((known) => known.name === tool))
    .map((tool) =>
      finding(
        name,
        `its tool ${tool} is not granted by worker_policy.allowed_tools, or is none of ours`,
        `Tools are ${tools.map((known) => known.name).join(', ')}.`,
      ),
    );

const withoutModel = (name: string, role: Role, asked: readonly Provider[]): Finding[] =>
  asked
    .filter((provider) => (role.models?.[provider.name] ?? role.model ?? provider.model) === undefined)
    .map((provider) =>
      finding(
        name,
        `has no model at ${provider.name}`,
        `Name one in the role, or as the default of ${provider.name}.`,
      ),
    );

const finding = (role: string, message: string, hint: string): Finding => ({
  name: `agent role ${role}`,
  ok: false,
  message,
  hint,
});
