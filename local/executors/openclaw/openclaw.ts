/**
 * The `openclaw` executor: an OpenClaw agent does something, by its own program or through its Gateway. What an agent
 * does cannot be undone or repeated, so every end that leaves a doubt is `unknown` and waits for a person.
 *
 * @example params
 * { "mode": "exec", "message": "Summarize what changed", "input": "{{event.data}}", "tools": ["read"] }
 */

import { fence, fenceRule } from '../agent/untrusted.js';
import { defineExecutor, processLocalLimit, type StepContext } from '../contract.js';
import { askVersion } from './ask-version.js';
import { examine } from './doctor.js';
import { askGateway } from './gateway.js';
import { grantedVariables, grantsOf, requireGrants } from './grants.js';
import { maxTextChars, Params, Result } from './params.js';
import { type Bounds, runAgent, runExec } from './run.js';
import type { Said } from './said.js';
import { settingsOf } from './settings.js';

export const createOpenclaw = (bounds: Bounds) =>
  defineExecutor({
    name: 'openclaw',
    params: Params,
    result: Result,
    traits: {
      idempotent: false,
      risk: 'high',
      localLimit: processLocalLimit,
      needs: ['openclaw'],
      touches: ['secrets', 'outside'],
      // What comes from outside is `input`, and picks neither who works nor with what.
      fixed: ['mode', 'message', 'model', 'fallbacks', 'tools', 'directory', 'agent', 'local', 'deliver'],
    },
    run: (ctx) => run(ctx, bounds),
    doctor: examine,
  });

/** The second comes before the 30 s after which older releases run a turn again by themselves. */
export const openclaw = createOpenclaw({ graceMs: 5_000, deadlineGraceMs: 15_000 });

async function run(ctx: StepContext<Params>, bounds: Bounds): Promise<Result> {
  const { params } = ctx;
  const grants = grantsOf(ctx.config);
  requireGrants(grants, params);
  const message = messageOf(params);
  const settings = settingsOf(ctx);
  const onSaid = (said: Said) => report(ctx, said);
  if (params.mode === 'gateway') {
    const said = await askGateway(ctx, params, message, settings);
    onSaid(said);
    return resultOf(params.mode, said, null);
  }
  const variables = grantedVariables(grants, (name) => ctx.secret(name));
  const version = await askVersion(settings, ctx.signal);
  const job = { message, settings, variables, version, bounds, onSaid };
  const said = await (params.mode === 'exec' ? runExec(ctx, params, job) : runAgent(ctx, params, job));
  return resultOf(params.mode, said, version?.text ?? null);
}

/** What comes from outside stands under the operator's words, fenced; the rule for it in between. */
const messageOf = ({ message, input }: Pick<Params, 'message' | 'input'>): string =>
  input === undefined ? message : `${message}\n\n${fenceRule}\n\n${fence('input', input)}`;

/** Figures that are not known are left out: a budget then settles at the step's reserve. */
function report(ctx: Pick<StepContext, 'cost'>, { usage, usd, model, provider, toolCalls }: Said): void {
  ctx.cost({
    ...(usage && { tokens: usage.total, input_tokens: usage.input, output_tokens: usage.output }),
    ...(usd !== undefined && { usd }),
    ...(model !== undefined && { model }),
    ...(provider !== undefined && { provider }),
    ...(toolCalls !== undefined && { tool_calls: toolCalls }),
  });
}

function resultOf(mode: Params['mode'], said: Said, version: string | null): Result {
  const { text, usage } = said;
  return {
    mode,
    text: text.slice(0, maxTextChars),
    truncated: said.cutOff || text.length > maxTextChars,
    media: said.media.slice(0, 100),
    model: said.model ?? null,
    provider: said.provider ?? null,
    session_id: said.sessionId ?? null,
    run_id: said.runId ?? null,
    usage: usage
      ? { input_tokens: usage.input, output_tokens: usage.output, total_tokens: usage.total }
      : null,
    cost_usd: said.usd ?? null,
    tool_calls: said.toolCalls ?? null,
    tools: said.tools,
    delivery: said.delivery?.status ?? null,
    version,
  };
}
