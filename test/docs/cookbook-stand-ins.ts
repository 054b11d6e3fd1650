/**
 * Stand-ins for the executors that reach outside of this machine: same names, params and traits, canned answers that
 * their result schemas check. What can be asked without the outside is asked for real: channels, hosts, secrets,
 * commands with their arguments, and the schemas that models answer to. So a grant that a recipe forgot is found here.
 */
import { tmpdir } from 'node:os';
import { sampleOf } from '../../local/demo/model-roles.js';
import { agent } from '../../local/executors/agent/agent.js';
import { outputReader } from '../../local/executors/agent/output.js';
import { Params as AgentParams } from '../../local/executors/agent/params.js';
import { defineExecutor, type Executor, type StepContext } from '../../local/executors/contract.js';
import { findGrants, parseGrants } from '../../local/executors/http/grants.js';
import { parseStepUrl } from '../../local/executors/http/guard.js';
import { buildHeaders } from '../../local/executors/http/headers.js';
import { http } from '../../local/executors/http/http.js';
import { Params as HttpParams } from '../../local/executors/http/params.js';
import { grantedVariables, grantOf } from '../../local/executors/minion/grants.js';
import { minion } from '../../local/executors/minion/minion.js';
import { CommandParams } from '../../local/executors/minion/params.js';
import { toArguments } from '../../local/executors/minion/values.js';
import { findChannel, given } from '../../local/executors/notify/channel.js';
import { notify } from '../../local/executors/notify/notify.js';
import { grantsOf, requireGrant } from '../../local/executors/wreckit/grants.js';
import { WreckitParams } from '../../local/executors/wreckit/params.js';
import { wreckit } from '../../local/executors/wreckit/wreckit.js';
import { WorkerPolicy } from '../../supabase/client/schemas/policies.js';

/** What was asked, in the order that steps ran. */
export type Told = { executor: string; key: string; params: Record<string, unknown> };
/** By the key of a step: what comes back, over what would come anyway. A function may throw. */
export type Answers = Record<string, Record<string, unknown> | (() => Record<string, unknown>)>;
type Play = (ctx: StepContext, answer: Record<string, unknown>) => unknown;

export function standIns(told: Told[], answers: Answers): Executor[] {
  const playing = (real: Executor, play: Play): Executor =>
    defineExecutor({
      ...real,
      run: async (ctx) => {
        const { key, params } = ctx;
        told.push({ executor: real.name, key, params: params as Record<string, unknown> });
        const answer = answers[key.replace(/\[\d+\]$/, '')] ?? {};
        const said = await play(ctx, typeof answer === 'function' ? answer() : answer);
        return real.result === undefined ? said : real.result.parse(said);
      },
    });
  return [
    playing(agent, think),
    playing(notify, tell),
    playing(http, call),
    playing(minion, run),
    playing(wreckit, reckon),
  ];
}

function think(ctx: StepContext, { usd = 0.01, ...said }: Record<string, unknown>): unknown {
  const { role, output: schema } = AgentParams.parse(ctx.params);
  if (ctx.config.agent_roles[role] === undefined) throw new Error(`the policy has no role ${role}`);
  ctx.cost({ usd: Number(usd), tokens: 120 });
  const common = {
    ...{ role, provider: 'stand-in', model: 'stand-in', cost_usd: Number(usd), latency_ms: 1 },
    usage: { input_tokens: 100, output_tokens: 20 },
  };
  if (schema === undefined) return { ...common, text: `${role} says something`, ...said };
  const output = { ...(sampleOf(schema) as object), ...said };
  const read = outputReader(schema).read(JSON.stringify(output));
  if (!read.ok) throw new Error(`the answer given for ${ctx.key} does not fit: ${read.problem}`);
  return { ...common, output: read.value };
}

function tell(ctx: StepContext, said: Record<string, unknown>): unknown {
  const { channel: name } = ctx.params as { channel: string };
  const channel = findChannel(ctx, name);
  given(channel, ctx, new Date()).secret('url_secret');
  return { channel: name, type: channel.type, sent: true, message_id: '1', ...said };
}

function call(ctx: StepContext, said: Record<string, unknown>): unknown {
  const params = HttpParams.parse(ctx.params);
  const { allowed_hosts = [], allowed_secrets = {} } = WorkerPolicy.parse(ctx.config.worker_policy);
  const url = parseStepUrl(params.url);
  if (findGrants(parseGrants(allowed_hosts), url).length === 0) throw new Error(`${url.host} is not granted`);
  buildHeaders(params, url, allowed_secrets, (name) => ctx.secret(name));
  const status = params.expect?.[0] ?? 200;
  return { ...{ status, url: params.url, redirects: 0, headers: {}, bytes: 2, truncated: false }, ...said };
}

async function run(ctx: StepContext, said: Record<string, unknown>): Promise<unknown> {
  const { command, arguments: values = [] } = CommandParams.parse(ctx.params);
  const grant = grantOf(ctx.config, command);
  grantedVariables(grant, (name) => ctx.secret(name));
  await toArguments(grant, values, { root: tmpdir(), cwd: tmpdir() });
  return { ...{ exit_code: 0, stdout: '', stderr: '', duration_ms: 1, truncated: false }, ...said };
}

function reckon(ctx: StepContext, said: Record<string, unknown>): unknown {
  const params = WreckitParams.parse(ctx.params);
  requireGrant(grantsOf(ctx.config), params);
  return { command: params.command, state: 'created', changed: true, created: ['001-idea'], ...said };
}
