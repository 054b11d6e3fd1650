/** Missions and their steps as people see them, and what people do to them. */
import { z } from 'zod';
import { arg, call, rows, value } from '../call.js';
import { count, document, json, timestamp } from '../schemas/values.js';
import * as terms from '../terms.js';

const mission = {
  id: z.uuid(),
  proposal_id: z.uuid(),
  status: z.enum(terms.missionStatuses),
  title: z.string().nullable(),
  pattern_id: z.string().nullable(),
  open_steps: z.int(),
  failed_steps: z.int(),
  cancelled_steps: z.int(),
  started_at: timestamp.nullable(),
  completed_at: timestamp.nullable(),
  created_at: timestamp,
  updated_at: timestamp,
};

export const MissionRow = z.object({
  ...mission,
  /** Names the page that begins after this row. */
  cursor: z.string(),
});

export const Mission = z.object({
  ...mission,
  policy_snapshot: document,
  total_steps: count,
  /** In their order; of more than 1,000 the first. */
  steps: z.array(
    z.object({
      id: z.uuid(),
      key: z.string(),
      kind: z.string(),
      executor: z.string(),
      status: z.enum(terms.stepStatuses),
      wait_reason: z.string().nullable(),
      worker_id: z.string().nullable(),
      failure_count: z.int(),
      last_error: z.string().nullable(),
      ready_at: timestamp,
      updated_at: timestamp,
    }),
  ),
});

export const Step = z.object({
  id: z.uuid(),
  mission_id: z.uuid(),
  key: z.string(),
  kind: z.string(),
  executor: z.string(),
  status: z.enum(terms.stepStatuses),
  wait_reason: z.string().nullable(),
  priority: z.int(),
  ready_at: timestamp,
  params: json,
  result: json,
  last_error: z.string().nullable(),
  worker_id: z.string().nullable(),
  lease_epoch: count,
  reserved_at: timestamp.nullable(),
  lease_expires_at: timestamp.nullable(),
  cancel_requested_at: timestamp.nullable(),
  failure_count: z.int(),
  crash_count: z.int(),
  max_retries: z.int().nullable(),
  timeout_seconds: z.number().nullable(),
  on_failure: z.enum(['stop', 'continue']),
  series: z.int(),
  needs: z.array(z.uuid()),
  dry_run: z.boolean(),
  skipped_for: z.uuid().nullable(),
  created_at: timestamp,
  updated_at: timestamp,
  /** Its open dead letter. */
  dead_letter_id: z.uuid().nullable(),
  /** The latest 50, newest first. */
  attempts: z.array(
    z.object({
      run_id: z.string(),
      status: z.enum(terms.attemptStatuses),
      executor: z.string(),
      worker_id: z.string().nullable(),
      started_at: timestamp,
      completed_at: timestamp.nullable(),
      meta: json,
      error: z.string().nullable(),
    }),
  ),
});

export const StepChange = z.object({
  id: z.uuid(),
  status: z.enum(terms.stepStatuses),
  mission_id: z.uuid(),
});

export const MissionChange = z.object({
  id: z.uuid(),
  status: z.enum(terms.missionStatuses),
  steps: count,
});

export const missionCalls = {
  listMissions: call(
    'ops_list_missions',
    {
      status: arg.text.orDefault,
      pattern: arg.text.orDefault,
      limit: arg.int.orDefault,
      cursor: arg.text.orDefault,
    },
    rows(MissionRow),
  ),
  getMission: call('ops_get_mission', { id: arg.uuid }, value(Mission)),
  getStep: call('ops_get_step', { id: arg.uuid }, value(Step)),
  retryStep: call('ops_retry_step', { id: arg.uuid, reason: arg.text.orDefault }, value(StepChange)),
  retryMission: call('ops_retry_mission', { id: arg.uuid, reason: arg.text.orDefault }, value(MissionChange)),
  cancelStep: call('ops_cancel_step', { id: arg.uuid, reason: arg.text.orDefault }, value(StepChange)),
  cancelMission: call(
    'ops_cancel_mission',
    { id: arg.uuid, reason: arg.text.orDefault },
    value(MissionChange),
  ),
};
