/** What `worker_policy` lets openclaw steps do. Pure. Every list grants, missing or malformed means none; but for thinking. */
import { z } from 'zod';
import { type Policies, StepError } from '../contract.js';
import type { AgentParams, GatewayParams, Params } from './params.js';

const list = z.array(z.string()).catch([]);
const Grants = z.object({
  allowed_openclaw_subcommands: list,
  allowed_openclaw_agents: list,
  allowed_openclaw_models: list,
  allowed_openclaw_recipients: list,
  /** Filters: missing means every level, malformed none. */
  allowed_openclaw_thinking: z.array(z.string()).optional().catch([]),
  allowed_tools: list,
  /** Variables of the worker that openclaw is given. */
  openclaw_environment: list,
});
export type Grants = z.output<typeof Grants>;

export const grantsOf = ({ worker_policy }: Policies): Grants => Grants.parse(worker_policy);

/** Throws a permanent `StepError` of class `NotAllowed` that names the list to look at. */
export function requireGrants(grants: Grants, params: Params): void {
  for (const [list, asked] of Object.entries(askedOf(params))) {
    const granted = grants[list as keyof Grants];
    const refused = asked.find((one) => granted?.includes(one) === false);
    if (refused !== undefined) throw notAllowed(list, refused);
  }
}

/** What a step needs, by the list that has to name it. */
function askedOf(params: Params): { [list in keyof Grants]?: string[] } {
  const { mode } = params;
  return {
    allowed_openclaw_subcommands: subcommandsOf(params),
    allowed_openclaw_models: modelsOf(params),
    ...(mode === 'exec'
      ? { allowed_tools: params.tools ?? [] }
      : { allowed_openclaw_agents: [agentOf(params)] }),
    ...(mode === 'agent' && { allowed_openclaw_recipients: given(params.to, params.reply_to) }),
    ...(mode !== 'gateway' && { allowed_openclaw_thinking: given(params.thinking) }),
  };
}

const given = (...values: (string | undefined)[]): string[] => values.filter((value) => value !== undefined);

const modelsOf = (params: Params): string[] =>
  given(params.model, ...(params.mode === 'exec' ? (params.fallbacks ?? []) : []));

/** By the words of `allowed_openclaw_subcommands`. */
function subcommandsOf(params: Params): string[] {
  if (params.mode === 'exec') return ['agent exec'];
  if (params.mode === 'gateway') return ['gateway'];
  return [
    params.local === true ? 'agent --local' : 'agent',
    ...(params.deliver === true ? ['agent --deliver'] : []),
  ];
}

/** Sessions that OpenClaw keeps for itself (docs/gateway/openai-http-api.md). */
const reserved = /(^|:)(subagent|cron|acp):/;
const ofAgent = /^agent:([^:]+):(.+)$/;

/**
 * The agent whose session it is; `default` when nobody is named. A session key of the form `agent:<id>:<key>` names one
 * too. Throws a permanent `StepError` when both are named and differ, or when the session is OpenClaw's own.
 */
function agentOf({ agent, session_key: key = '' }: AgentParams | GatewayParams): string {
  const [, owner] = ofAgent.exec(key) ?? [];
  if (reserved.test(key)) throw refusedSession(key, 'is one that OpenClaw keeps for itself');
  if (key.startsWith('agent:') && owner === undefined) throw refusedSession(key, 'is not agent:<id>:<key>');
  if (owner !== undefined && agent !== undefined && owner !== agent)
    throw refusedSession(key, `belongs to another agent than ${agent}`);
  return agent ?? owner ?? 'default';
}

const permanent = (errorClass: string, message: string, hint: string): StepError =>
  new StepError(message, { outcome: 'permanent', errorClass, hint });

const refusedSession = (key: string, why: string): StepError =>
  permanent('NotAllowed', `the session ${key} ${why}`, 'Use a session key of your own.');

const notAllowed = (list: string, asked: string): StepError =>
  permanent(
    'NotAllowed',
    `the policy does not allow openclaw ${JSON.stringify(asked)}`,
    `Add "${asked}" to ${list} of worker_policy, if it may be used.`,
  );

/** Ours: with these, an agent could talk to the loop's own database or endpoint. */
const own =
  /^(DATABASE_URL|PG[A-Z]+|SUPABASE_\w+|OPS_\w+|VERCEL_\w+|CRON_SECRET|\w+_WEBHOOK_SECRET(_PREVIOUS)?)$/;
/** With these, the child would load code or run another program than the one that was looked up. */
const steering =
  /^(PATH|NODE_OPTIONS|NODE_PATH|LD_\w+|DYLD_\w+|OPENCLAW_(CONFIG_PATH|STATE_DIR|INCLUDE_ROOTS))$/;

/** The listed variables that are set. Throws a permanent `StepError` when the list names what nobody may hand over. */
export function grantedVariables(
  { openclaw_environment: names }: Pick<Grants, 'openclaw_environment'>,
  read: (name: string) => string | undefined,
): Record<string, string> {
  const refused = names.filter((name) => own.test(name) || steering.test(name));
  if (refused.length > 0)
    throw permanent(
      'NotAllowed',
      `openclaw_environment names variables that openclaw never gets: ${refused.join(', ')}`,
      'Take them out of openclaw_environment of worker_policy.',
    );
  const set = names.map((name) => [name, read(name)] as const);
  return Object.fromEntries(set.filter((pair): pair is [string, string] => pair[1] !== undefined));
}
