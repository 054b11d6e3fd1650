/**
 * What a model may do by itself. Few, and only in the database: a model that has read text from outside gets no way
 * to reach anybody. A role's list and `worker_policy.allowed_tools` both have to grant a tool.
 */
import { z } from 'zod';
import { OpsError } from '../../../supabase/client/errors.js';
import { RadarInput } from '../../../supabase/client/schemas/inputs.js';
import { radarStages } from '../../../supabase/client/terms.js';
import { type StepContext, StepError } from '../contract.js';
import type { ToolCall, ToolSpec } from './call.js';

export type ToolContext = Pick<StepContext, 'db' | 'stepId' | 'leaseEpoch'>;
export type Tool = { name: string; spec: ToolSpec; run(given: unknown, ctx: ToolContext): Promise<unknown> };

function tool<P extends z.ZodType>(
  name: string,
  description: string,
  params: P,
  run: (given: z.output<P>, ctx: ToolContext) => Promise<unknown>,
): Tool {
  const { $schema: _, ...parameters } = z.toJSONSchema(params, { io: 'input' });
  return {
    name,
    spec: { type: 'function', function: { name, description, parameters } },
    run: (given, ctx) => run(params.parse(given), ctx),
  };
}

const radarList = tool(
  'radar_list',
  'Lists signals of the demand radar (what people ask for), most wanted first.',
  z.strictObject({ stage: z.enum(radarStages).optional(), limit: z.int().min(1).max(50).optional() }),
  async ({ stage, limit = 20 }, { db }) => {
    const signals = await db.radarList({ ...(stage && { stage }), limit });
    return signals.map(({ title, stage: at, score, mentions, tags }) => ({
      title,
      stage: at,
      score,
      mentions,
      tags,
    }));
  },
);

const radarAdd = tool(
  'radar_add',
  'Puts a signal of demand on the radar; one with the same title is counted as a further mention.',
  RadarInput.pick({ title: true, description: true, tags: true }),
  async (signal, { db, stepId, leaseEpoch }) => {
    const [receipt] = await db.radarAdd({ signals: [{ ...signal, source: 'agent' }], stepId, leaseEpoch });
    if (receipt === undefined) throw new Error('the radar answered no row');
    const { created, counted, stage, mentions, score } = receipt;
    return { created, counted, stage, mentions, score };
  },
);

export const tools: readonly Tool[] = [radarList, radarAdd];

export type Grants = {
  role: readonly string[];
  policy: readonly string[];
  wanted: readonly string[] | undefined;
};

/**
 * The tools of a step: what role and policy both grant, or those of them that the step names. Throws a permanent
 * `StepError` when the step names one that it is not granted.
 */
export function grantedTools({ role, policy, wanted }: Grants): Tool[] {
  const granted = tools.filter(({ name }) => role.includes(name) && policy.includes(name));
  const refused = wanted?.find((name) => !granted.some((known) => known.name === name));
  if (refused !== undefined)
    throw new StepError(
      `the tool ${refused} is not granted; it has to stand in the tools of the role and in worker_policy.allowed_tools, and be one of ${tools.map(({ name }) => name).join(', ')}`,
      { outcome: 'permanent', errorClass: 'ToolNotGranted' },
    );
  return granted.filter(({ name }) => wanted?.includes(name) ?? true);
}

/** What the model is told of its call. A mistake of the model is its to correct; a fault of the database is thrown. */
export async function runTool(granted: readonly Tool[], call: ToolCall, ctx: ToolContext): Promise<unknown> {
  const found = granted.find(({ name }) => name === call.name);
  if (found === undefined) return { error: 'this tool does not exist, or is not granted' };
  try {
    return await found.run(JSON.parse(call.arguments === '' ? '{}' : call.arguments), ctx);
  } catch (error) {
    if (error instanceof SyntaxError) return { error: 'the arguments are not JSON' };
    if (error instanceof z.ZodError) return { error: z.prettifyError(error) };
    if (error instanceof OpsError && error.code === 'OPS_011') return { error: error.message };
    throw error;
  }
}
