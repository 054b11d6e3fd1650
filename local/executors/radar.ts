import { z } from 'zod';
import { OpsError } from '../../supabase/client/errors.js';
import { RadarInput } from '../../supabase/client/schemas/inputs.js';
import { radarSorts, radarStages, radarViews } from '../../supabase/client/terms.js';
import { defineExecutor, type StepContext, StepError } from './contract.js';
import type { Json } from './json.js';

/** Which signal: by the id that `add` answered, or by the dedupe key it was heard under. */
const one = { id: z.uuid().optional(), dedupe_key: z.string().min(1).max(500).optional() };
type One = { id?: string | undefined; dedupe_key?: string | undefined };
const isNamed = ({ id, dedupe_key }: One): boolean => (id === undefined) !== (dedupe_key === undefined);
const namedHow = { error: 'give either id or dedupe_key' };

const Add = RadarInput.extend({
  action: z.literal('add'),
  // Params come out of jsonb: any value is JSON, and the schema for "any" stays small.
  evidence: (z.unknown() as z.ZodType<Json>).optional(),
});
const Move = z
  .strictObject({
    action: z.literal('move'),
    ...one,
    stage: z.enum(radarStages),
    reason: z.string().max(2_000).optional(),
  })
  .refine(isNamed, namedHow);
const Weigh = z
  .strictObject({ action: z.literal('weigh'), ...one, weight: z.number().min(0).max(100) })
  .refine(isNamed, namedHow);
const Get = z.strictObject({ action: z.literal('get'), ...one }).refine(isNamed, namedHow);
const List = z.strictObject({
  action: z.literal('list'),
  stage: z.enum(radarViews).optional(),
  tag: z.string().optional(),
  text: z.string().optional(),
  min_score: z.number().optional(),
  sort: z.enum(radarSorts).optional(),
  limit: z.int().min(1).max(200).optional(),
  cursor: z.string().optional(),
});
const Top = z.strictObject({ action: z.literal('top'), count: z.int().min(1).max(200).optional() });

const Params = z.discriminatedUnion('action', [Add, Move, Weigh, Get, List, Top]);
type Params = z.output<typeof Params>;
type Doing<A extends Params['action']> = Extract<Params, { action: A }>;

/**
 * The demand radar. `add` answers the signal's receipt, `move` and `weigh` what changed, `get` the whole signal,
 * `list` and `top` `{ signals }`. It touches the database only, and names its step there: a retried step counts no
 * second mention and makes no second move, and the event `radar:<stage>` is one of the step's mission.
 */
export const radar = defineExecutor({
  name: 'radar',
  params: Params,
  traits: { idempotent: true, risk: 'low' },
  async run(ctx) {
    try {
      return await act(ctx, ctx.params);
    } catch (error) {
      throw forGood(error);
    }
  },
});

function act(ctx: StepContext, params: Params): Promise<unknown> {
  switch (params.action) {
    case 'add':
      return add(ctx, params);
    case 'move':
      return move(ctx, params);
    case 'weigh':
      return weigh(ctx, params);
    case 'get':
      return ctx.db.radarGet(nameOf(params));
    case 'list':
      return list(ctx, params);
    case 'top':
      return ctx.db.radarTop({ count: params.count }).then((signals) => ({ signals }));
  }
}

const held = ({ stepId, leaseEpoch }: StepContext) => ({ stepId, leaseEpoch });

async function add(ctx: StepContext, { action: _, ...signal }: Doing<'add'>): Promise<unknown> {
  const [receipt] = await ctx.db.radarAdd({ signals: [signal], ...held(ctx) });
  if (receipt === undefined) throw new Error('the radar answered no row');
  const { position: __, ...answer } = receipt;
  return answer;
}

async function move(ctx: StepContext, { stage, reason, ...which }: Doing<'move'>): Promise<unknown> {
  return ctx.db.radarMove({ id: await idOf(ctx, which), stage, reason, ...held(ctx) });
}

async function weigh(ctx: StepContext, { weight, ...which }: Doing<'weigh'>): Promise<unknown> {
  return ctx.db.radarWeigh({ id: await idOf(ctx, which), weight, ...held(ctx) });
}

async function list(ctx: StepContext, params: Doing<'list'>): Promise<unknown> {
  const { action: _, min_score: minScore, limit = 50, ...rest } = params;
  const signals = await ctx.db.radarList({ ...rest, minScore, limit });
  return { signals, next_cursor: signals.length < limit ? null : (signals.at(-1)?.cursor ?? null) };
}

const nameOf = ({ id, dedupe_key: dedupeKey }: One) => ({ id, dedupeKey });

const idOf = async (ctx: StepContext, which: One): Promise<string> =>
  which.id ?? (await ctx.db.radarGet(nameOf(which))).id;

/** What is wrong with the call stays wrong: bad input, no such signal, an illegal move. The rest may be tried again. */
function forGood(error: unknown): unknown {
  const lasting = ['OPS_011', 'OPS_012', 'OPS_015'];
  if (!(error instanceof OpsError) || !lasting.includes(error.code)) return error;
  const { code, message, hint, detail } = error;
  const said = `${code} ${message}${hint === undefined ? '' : ` (${hint})`}`;
  return new StepError(said, { outcome: 'permanent', errorClass: code, hint, detail, cause: error });
}
