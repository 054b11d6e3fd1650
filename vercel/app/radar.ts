/**
 * `/api/ops/radar`: what people ask for. Reading takes a viewer, writing an operator; who moves a signal is the holder
 * of the key. `by`, `link` and `evidence` of a mention are what the sender says, and are kept as such.
 */
import { z } from 'zod';
import { RadarInput } from '../../supabase/client/schemas/inputs.js';
import { RadarDetail, RadarMove, RadarReceipt, RadarSignal } from '../../supabase/client/schemas/rows.js';
import { radarSorts, radarStages, radarViews } from '../../supabase/client/terms.js';
import { answers, endpoint } from './endpoint.js';
import { cursor, fromKey, Id, limit, nextCursor, reason } from './input.js';

const Query = z.strictObject({
  stage: z.enum(radarViews).optional(),
  tag: z.string().max(100).optional(),
  text: z.string().max(500).optional(),
  min_score: z.coerce.number().min(0).optional(),
  sort: z.enum(radarSorts).default('score'),
  limit,
  cursor,
});
const TopQuery = z.strictObject({ count: z.coerce.number().int().min(1).max(100).default(10) });
const Move = z.strictObject({ stage: z.enum(radarStages), reason, actor: fromKey });
const Signals = z.object({ signals: z.array(RadarSignal) });
const Page = Signals.extend({ next_cursor: z.string().nullable() });

export const listSignals = endpoint(
  {
    summary: 'Signals of the demand radar, most wanted first unless `sort` says otherwise',
    query: Query,
    answers: { 200: answers('A page; `next_cursor` is null on the last one.', Page) },
  },
  async (c, { query: { min_score: minScore, ...query } }, { port }) => {
    const signals = await port.radarList({ ...query, minScore });
    return c.json({ signals, next_cursor: nextCursor(signals, query.limit) });
  },
);

export const showTopSignals = endpoint(
  {
    summary: 'The signals wanted most of those neither shipped nor dropped',
    query: TopQuery,
    answers: { 200: answers('The signals.', Signals) },
  },
  async (c, { query }, { port }) => c.json({ signals: await port.radarTop(query) }),
);

export const showSignal = endpoint(
  {
    summary: 'One signal with its evidence',
    params: Id,
    answers: { 200: answers('The signal.', RadarDetail) },
  },
  async (c, { params }, { port }) => c.json(await port.radarGet(params)),
);

export const addSignal = endpoint(
  {
    summary: 'Adds a mention of a signal, which may be new; with a `mention_key` it may be sent again',
    body: RadarInput,
    answers: {
      201: answers('A new signal.', RadarReceipt),
      200: answers('A further mention of a known one.', RadarReceipt),
    },
  },
  async (c, { body }, { port }) => {
    const [receipt] = await port.radarAdd({ signals: [{ source: 'api', ...body }] });
    return c.json(receipt, receipt?.created ? 201 : 200);
  },
);

export const moveSignal = endpoint(
  {
    summary: 'Moves a signal to another stage; 409 with the legal moves when it may not go there',
    params: Id,
    body: Move,
    answers: { 200: answers('Where it is now.', RadarMove) },
  },
  async (c, { params, body: { stage, reason } }, { port }) =>
    c.json(await port.radarMove({ ...params, stage, reason, actor: c.get('actor') })),
);
