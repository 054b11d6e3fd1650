/**
 * `/api/ops/radar`: what people ask for. Reading takes a viewer, writing an operator; who moves a signal is the holder
 * of the key. `by`, `link` and `evidence` of a mention are what the sender says, and are kept as such.
 */
import { z } from 'zod';
import { RadarInput } from '../../supabase/client/schemas/inputs.js';
import { radarSorts, radarStages, radarViews } from '../../supabase/client/terms.js';
import { defaultMaxKeys, readJson } from './body.js';
import type { AppContext, AppDeps, Handler } from './deps.js';
import { checkInput } from './input.js';

const Query = z.strictObject({
  stage: z.enum(radarViews).optional(),
  tag: z.string().max(100).optional(),
  text: z.string().max(500).optional(),
  min_score: z.coerce.number().min(0).optional(),
  sort: z.enum(radarSorts).default('score'),
  limit: z.coerce.number().int().min(1).max(500).default(50),
  /** `next_cursor` of the page before. */
  cursor: z.string().max(200).optional(),
});
const TopQuery = z.strictObject({ count: z.coerce.number().int().min(1).max(100).default(10) });
const Id = z.strictObject({ id: z.uuid() });
const Move = z.strictObject({
  stage: z.enum(radarStages),
  reason: z.string().max(2_000).optional(),
  actor: z.never({ error: 'is not taken from the body: it is the label of the key' }).optional(),
});

/** `{signals, next_cursor}`, most wanted first; the cursor is null on the last page. */
export function listSignals({ port }: AppDeps): Handler {
  return async function listSignals(c) {
    const { min_score: minScore, ...query } = checkInput(Query, c.req.query());
    const signals = await port.radarList({ ...query, minScore });
    const isLast = signals.length < query.limit;
    return c.json({ signals, next_cursor: isLast ? null : (signals.at(-1)?.cursor ?? null) });
  };
}

export function showTopSignals({ port }: AppDeps): Handler {
  return async function showTopSignals(c) {
    return c.json({ signals: await port.radarTop(checkInput(TopQuery, c.req.query())) });
  };
}

/** One signal with its evidence; 404 when there is none. */
export function showSignal({ port }: AppDeps): Handler {
  return async function showSignal(c) {
    return c.json(await port.radarGet(checkInput(Id, c.req.param())));
  };
}

/** 201 for a new signal, 200 for a further mention. With a `mention_key` it may be sent again without harm. */
export function addSignal({ port, env }: AppDeps): Handler {
  return async function addSignal(c) {
    const signal = checkInput(RadarInput, await readJson(c.req.raw, limits(env)));
    const [receipt] = await port.radarAdd({ signals: [{ source: 'api', ...signal }] });
    return c.json(receipt, receipt?.created ? 201 : 200);
  };
}

/** `{stage, reason?}`; 409 with the legal moves when it may not go there. */
export function moveSignal({ port, env }: AppDeps): Handler {
  return async function moveSignal(c: AppContext) {
    const { id } = checkInput(Id, c.req.param());
    const { stage, reason } = checkInput(Move, await readJson(c.req.raw, limits(env)));
    return c.json(await port.radarMove({ id, stage, reason, actor: c.get('actor') }));
  };
}

const limits = (env: AppDeps['env']) => ({ maxBytes: env.OPS_MAX_BODY_BYTES, maxKeys: defaultMaxKeys });
