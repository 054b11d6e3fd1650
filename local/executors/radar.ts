import { z } from 'zod';
import { RadarInput } from '../../supabase/client/schemas/inputs.js';
import { radarStages } from '../../supabase/client/terms.js';
import { defineExecutor, type StepContext } from './contract.js';
import type { Json } from './json.js';

const Add = RadarInput.extend({
  action: z.literal('add'),
  // Params come out of jsonb: any value is JSON, and the schema for "any" stays small.
  evidence: (z.unknown() as z.ZodType<Json>).optional(),
});
const List = z.strictObject({
  action: z.literal('list'),
  stage: z.enum(radarStages).optional(),
  limit: z.int().min(1).max(200).optional(),
});

/** The demand radar: `add` answers the signal's row, `list` answers `{ signals }`. It touches the database only. */
export const radar = defineExecutor({
  name: 'radar',
  params: z.discriminatedUnion('action', [Add, List]),
  traits: { idempotent: true, risk: 'low' },
  run(ctx) {
    const { params } = ctx;
    return params.action === 'add' ? add(ctx, params) : list(ctx, params);
  },
});

async function add(ctx: StepContext, { action: _, ...signal }: z.output<typeof Add>): Promise<unknown> {
  const [receipt] = await ctx.db.radarAdd({ signals: [signal] });
  if (receipt === undefined) throw new Error('the radar answered no row');
  const { id, created, stage, mentions, score } = receipt;
  // An earlier attempt may have made the signal and died before its event was recorded; the key keeps it to one.
  if (created || ctx.attempt > 1)
    ctx.emit({
      type: `radar:${stage}`,
      data: { signal_id: id, title: signal.title, stage, score, tags: signal.tags ?? [] },
      dedupe_key: `radar:${id}:${stage}`,
    });
  return { id, created, stage, mentions, score };
}

async function list(ctx: StepContext, { stage, limit }: z.output<typeof List>): Promise<unknown> {
  const signals = await ctx.db.radarList({ ...(stage && { stage }), limit: limit ?? 50 });
  return { signals };
}
