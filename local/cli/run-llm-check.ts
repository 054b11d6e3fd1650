import { OpsError } from '../../supabase/client/errors.js';
import { variableOf } from '../env.js';
import { type Checked, checkModels } from '../executors/agent/check.js';
import { Health } from '../executors/agent/health.js';
import { readPrices } from '../executors/agent/prices.js';
import { readModelSettings } from '../executors/agent/providers.js';
import { candidatesOf, readRole } from '../executors/agent/role.js';
import type { Candidate } from '../executors/agent/route.js';
import { createLogger } from '../logger.js';
import type { Context } from './context.js';
import { type ExitCode, exitCodes } from './exit-codes.js';
import { oneLine } from './output.js';

export type CheckFlags = { role?: string; provider?: string };

/** Goes to the database only when a role is named. */
export async function runLlmCheck(context: Context, flags: CheckFlags): Promise<ExitCode> {
  const { out } = context;
  const env = context.env();
  const variable = variableOf(env);
  const { timeoutMs } = readModelSettings(variable);
  const candidates = await chosen(context, flags);
  if (candidates.length === 0) throw nobodyToAsk(flags);
  const checked = await checkModels({
    candidates,
    health: new Health(),
    secret: variable,
    signal: new AbortController().signal,
    timeoutMs,
    // What went wrong stands in the answer.
    log: createLogger('silent'),
  });
  out.show(checked, () => render(checked));
  return checked.ok ? exitCodes.ok : exitCodes.failed;
}

async function chosen(context: Context, { role, provider }: CheckFlags): Promise<Candidate[]> {
  const { providers } = readModelSettings(variableOf(context.env()));
  const candidates =
    role === undefined
      ? candidatesOf(providers, { role: {}, model: undefined, prices: {} })
      : await asRole(context, role, providers);
  return candidates.filter((candidate) => provider === undefined || candidate.provider.name === provider);
}

async function asRole(
  { connect }: Context,
  name: string,
  providers: Parameters<typeof candidatesOf>[0],
): Promise<Candidate[]> {
  const { port } = await connect();
  const { agent_roles, worker_policy } = await port.workerConfig();
  const role = readRole(agent_roles, name);
  return candidatesOf(providers, { role, model: undefined, prices: readPrices(worker_policy) });
}

function render({ provider, model, latency_ms, usage, cost_usd, failed }: Checked): string {
  const tokens = usage === null ? '' : `, ${usage.input_tokens + usage.output_tokens} tokens`;
  const cost = cost_usd === null ? '' : `, $${cost_usd}`;
  return [
    ...failed.map((one) => `${one.provider} ${oneLine(one.problem, 200)}`),
    provider === null
      ? 'nobody answered'
      : `${provider} answered as ${model} in ${latency_ms} ms${tokens}${cost}`,
  ].join('\n');
}

const nobodyToAsk = ({ provider, role }: CheckFlags): OpsError =>
  new OpsError(
    'OPS_016',
    `there is no provider to ask${provider === undefined ? '' : ` named ${provider}`}`,
    {
      hint: `Set OPS_LLM_PROVIDERS and the key of each${role === undefined ? '' : ', or correct the providers of the role'}; .env.example describes them.`,
    },
  );
