/** Model providers as workers report them. */
import { z } from 'zod';
import { arg, call, rows, value } from '../call.js';
import { count, timestamp } from '../schemas/values.js';
import * as terms from '../terms.js';

/** What a worker says of one model provider. Times are distances in milliseconds, for the database's own clock. */
export const LlmReport = z.strictObject({
  provider: z.string(),
  model: z.string().nullable(),
  state: z.enum(terms.llmStates),
  failures: z.int(),
  calls: z.int(),
  failed_calls: z.int(),
  latency_p50_ms: z.number().nullable(),
  latency_p95_ms: z.number().nullable(),
  opened_ms_ago: z.number().nullable(),
  asked_again_in_ms: z.number().nullable(),
  last_error: z.string().nullable(),
  last_error_ms_ago: z.number().nullable(),
  last_success_ms_ago: z.number().nullable(),
  /** The last reset that it has carried out. */
  reset_done: z.int(),
});
export type LlmReport = z.infer<typeof LlmReport>;

export const LlmResetWanted = z.object({ provider: z.string(), reset_wanted: count });

export const LlmHealth = z.object({
  /** Of the living workers: nobody can be asked when `down`, none has reported when `unknown`. */
  status: z.enum(['healthy', 'degraded', 'down', 'unknown']),
  at: timestamp,
  providers: z.array(
    z.object({
      worker: z.string(),
      alive: z.boolean(),
      provider: z.string(),
      model: z.string().nullable(),
      state: z.enum(terms.llmStates),
      /** In a row. */
      failures: count,
      calls: count,
      failed_calls: count,
      latency_p50_ms: count.nullable(),
      latency_p95_ms: count.nullable(),
      opened_at: timestamp.nullable(),
      asked_again_at: timestamp.nullable(),
      /** Its sort and HTTP status, such as `server 503`. */
      last_error: z.string().nullable(),
      last_error_at: timestamp.nullable(),
      last_success_at: timestamp.nullable(),
      reset_pending: z.boolean(),
      reported_at: timestamp,
    }),
  ),
});
export type LlmHealth = z.infer<typeof LlmHealth>;

export const llmCalls = {
  reportLlm: call(
    'ops_report_llm',
    { worker: arg.text, providers: arg.jsonb(z.array(LlmReport)) },
    rows(LlmResetWanted),
  ),
  llmHealth: call('ops_llm_health', {}, value(LlmHealth)),
  resetLlm: call(
    'ops_reset_llm',
    { provider: arg.text.orDefault },
    value(z.object({ workers: z.array(z.string()) })),
  ),
};
