/** Workers: who they are, what they can run, what they go by and how long they may rest. */
import { z } from 'zod';
import { arg, call, value } from '../call.js';
import { document, timestamp } from '../schemas/values.js';
import * as terms from '../terms.js';

export const ExecutorRegistration = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/),
  params_schema: document,
  result_schema: document.nullable().optional(),
  traits: z.strictObject({
    idempotent: z.boolean(),
    risk: z.enum(terms.riskLevels),
    /** How many run at once in one worker process; null is the worker's own concurrency. */
    local_limit: z.int().positive().nullable().optional(),
    needs: z.array(z.string()).optional(),
    touches: z.array(z.enum(['secrets', 'outside'])).optional(),
    /** A parameter: one step at a time per value of it. */
    exclusive: z.string().max(200).nullable().optional(),
    /** Parameters that no placeholder may stand in. */
    fixed: z.array(z.string()).optional(),
  }),
});
export type ExecutorRegistration = z.infer<typeof ExecutorRegistration>;

export const Registration = z.object({
  accepted: z.boolean(),
  schema_version: z.string(),
  holder: z.object({ instance: z.uuid(), host: z.string(), pid: z.int(), seen_at: timestamp }).nullable(),
});

export const WorkerConfig = z.object({
  worker_policy: document,
  agent_roles: document,
  switches: document,
});

/** `now` is the database's: a worker waits the difference, whatever its own clock says. */
export const WorkerIdle = z.object({ now: timestamp, next_due_at: timestamp.nullable() });

export const workerCalls = {
  registerWorker: call(
    'ops_register_worker',
    {
      name: arg.text,
      instance: arg.uuid,
      host: arg.text,
      pid: arg.int,
      executors: arg.jsonb(z.array(ExecutorRegistration)),
      takeover: arg.boolean.orDefault,
    },
    value(Registration),
  ),
  unregisterWorker: call(
    'ops_unregister_worker',
    { name: arg.text, instance: arg.uuid },
    value(z.object({ removed: z.boolean() })),
  ),
  workerConfig: call('ops_worker_config', {}, value(WorkerConfig)),
  workerIdle: call(
    'ops_worker_idle',
    { worker: arg.text, executors: arg.texts, instance: arg.uuid.orDefault },
    value(WorkerIdle),
  ),
};
