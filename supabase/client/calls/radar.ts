/** The demand radar. A step names itself and its lease epoch; everybody else leaves them out. */
import { z } from 'zod';
import { arg, call, rows, value } from '../call.js';
import { count, document, timestamp } from '../schemas/values.js';
import * as terms from '../terms.js';

export const RadarInput = z.strictObject({
  title: z.string().min(1).max(500),
  description: z.string().max(20_000).optional(),
  source: z.string().min(1).max(200).optional(),
  /** Who says so, and where it can be read. What the sender claims: shown, never acted on. */
  by: z.string().min(1).max(200).nullable().optional(),
  link: z
    .string()
    .max(2_000)
    .regex(/^[hH][tT][tT][pP][sS]?:\/\/\S+$/)
    .nullable()
    .optional(),
  tags: z.array(z.string().max(100)).max(50).optional(),
  /** Whatever was said, kept with the mention; of more than 2,000 bytes the beginning. */
  evidence: z.json().optional(),
  /** Multiplies the score of a signal that is new; a known one keeps its own. */
  weight: z.number().min(0).max(100).optional(),
  /** Same key, same signal. The title by default. */
  dedupe_key: z.string().min(1).max(500).optional(),
  /** Same key, same mention: counted once. */
  mention_key: z.string().min(1).max(500).optional(),
});

export const RadarReceipt = z.object({
  position: z.int(),
  id: z.uuid(),
  created: z.boolean(),
  /** False: this mention was counted before, by its key. */
  counted: z.boolean(),
  mentions: z.int(),
  score: count,
  stage: z.enum(terms.radarStages),
});

const radarSignal = {
  id: z.uuid(),
  title: z.string(),
  source: z.string(),
  stage: z.enum(terms.radarStages),
  /** As it is now: it fades from one mention to the next. */
  score: count,
  weight: count,
  tags: z.array(z.string()),
  mentions: z.int(),
  dedupe_key: z.string(),
  first_seen_at: timestamp,
  last_seen_at: timestamp,
  moved_at: timestamp.nullable(),
  merged_into: z.uuid().nullable(),
};

export const RadarSignal = z.object({
  ...radarSignal,
  /** How many distinct ones. */
  sources: z.int(),
  /** Names the page that begins after this row. */
  cursor: z.string(),
});

const radarNext = z.array(z.enum(terms.radarStages));

export const RadarDetail = z.object({
  ...radarSignal,
  description: z.string().nullable(),
  sources: z.array(z.string()),
  /** The stages it may move to. */
  next: radarNext,
  moved_by: z.string().nullable(),
  move_reason: z.string().nullable(),
  moved_step: z.uuid().nullable(),
  /** The latest 100 mentions, newest last: `{at, source, by?, link?, step_id?, data?}`. */
  evidence: z.array(document),
});

export const RadarMove = z.object({
  id: z.uuid(),
  stage: z.enum(terms.radarStages),
  from: z.enum(terms.radarStages),
  /** False: it was there already, or this step has made this move before. */
  changed: z.boolean(),
  next: radarNext,
});

export const RadarWeight = z.object({ id: z.uuid(), weight: count, score: count, changed: z.boolean() });

export const RadarMerge = z.object({
  id: z.uuid(),
  from: z.uuid(),
  changed: z.boolean(),
  mentions: z.int(),
  score: count,
});

export const radarCalls = {
  radarAdd: call(
    'ops_radar_add',
    {
      signals: arg.jsonb(z.array(RadarInput)),
      stepId: arg.uuid.orDefault,
      leaseEpoch: arg.bigint.orDefault,
    },
    rows(RadarReceipt),
  ),
  radarMove: call(
    'ops_radar_move',
    {
      id: arg.uuid,
      stage: arg.text,
      reason: arg.text.orDefault,
      actor: arg.text.orDefault,
      stepId: arg.uuid.orDefault,
      leaseEpoch: arg.bigint.orDefault,
    },
    value(RadarMove),
  ),
  radarWeigh: call(
    'ops_radar_weigh',
    { id: arg.uuid, weight: arg.numeric, stepId: arg.uuid.orDefault, leaseEpoch: arg.bigint.orDefault },
    value(RadarWeight),
  ),
  radarMerge: call(
    'ops_radar_merge',
    { from: arg.uuid, into: arg.uuid, reason: arg.text.orDefault, actor: arg.text.orDefault },
    value(RadarMerge),
  ),
  radarList: call(
    'ops_radar_list',
    {
      stage: arg.text.orDefault,
      tag: arg.text.orDefault,
      text: arg.text.orDefault,
      minScore: arg.numeric.orDefault,
      sort: arg.text.orDefault,
      limit: arg.int.orDefault,
      cursor: arg.text.orDefault,
    },
    rows(RadarSignal),
  ),
  radarTop: call('ops_radar_top', { count: arg.int.orDefault }, rows(RadarSignal)),
  radarGet: call(
    'ops_radar_get',
    { id: arg.uuid.orDefault, dedupeKey: arg.text.orDefault },
    value(RadarDetail),
  ),
};
