/**
 * The engine as TypeScript sees it: one typed method per SQL function, nothing else. A method sends one call,
 * parses what goes out and what comes back, and throws `OpsError`. Every function is a transaction of its own.
 */
import { z } from 'zod';
import { type Arguments, arg, type Call, call, type Request, row, rows, sqlName, value } from './call.js';
import { OpsError } from './errors.js';
import * as input from './schemas/inputs.js';
import * as out from './schemas/rows.js';
import { keyScopes, policyKeys, switchModes } from './terms.js';

const document = z.record(z.string(), z.json());

export const calls = {
  // events
  emitEvents: call(
    'ops_emit_events',
    { events: arg.jsonb(z.array(input.SentEvent)) },
    rows(out.EventReceipt),
  ),
  emitEvent: call(
    'ops_emit_event',
    {
      type: arg.text,
      data: arg.jsonb(document).orDefault,
      source: arg.text.orDefault,
      dedupeKey: arg.text.orDefault,
    },
    value(out.EmittedEvent),
  ),
  replayEvents: call(
    'ops_replay_events',
    { since: arg.timestamp, pattern: arg.text.orDefault, limit: arg.int.orDefault },
    value(z.object({ reopened: z.int(), until: out.timestamp.nullable(), more: z.boolean() })),
  ),

  // the heartbeat and its phases
  heartbeat: call(
    'ops_heartbeat',
    {
      eventBatch: arg.int.orDefault,
      reactionBatch: arg.int.orDefault,
      staleMinutes: arg.numeric.orDefault,
      source: arg.text.orDefault,
      beatId: arg.uuid.orDefault,
    },
    value(out.BeatRound),
  ),
  schedulesToPlan: call('ops_schedules_to_plan', {}, rows(out.ScheduleToPlan)),
  planSlots: call(
    'ops_plan_slots',
    { plans: arg.jsonb(z.array(input.SlotPlan)) },
    value(z.object({ planned: z.int() })),
  ),
  listSchedules: call('ops_list_schedules', {}, rows(out.Schedule)),
  recordBeatFailure: call(
    'ops_record_beat_failure',
    { beatId: arg.uuid.orDefault, source: arg.text, error: arg.text },
    value(z.object({ beat_id: z.uuid() })),
  ),
  recoverExpiredLeases: call(
    'ops_recover_expired_leases',
    { limit: arg.int.orDefault },
    value(out.LeaseRecovery),
  ),
  recoverStaleSteps: call(
    'ops_recover_stale_steps',
    { minutes: arg.numeric.orDefault },
    value(out.StaleRecovery),
  ),

  // proposals
  createProposal: call(
    'ops_create_proposal',
    {
      template: arg.jsonb(document),
      source: arg.text.orDefault,
      dedupeKey: arg.text.orDefault,
      proposedBy: arg.text.orDefault,
    },
    value(out.ProposalReceipt),
  ),
  createProposals: call(
    'ops_create_proposals',
    {
      proposals: arg.jsonb(
        z.array(
          z.strictObject({
            template: document,
            source: z.string().optional(),
            dedupe_key: z.string().optional(),
            proposed_by: z.string().optional(),
          }),
        ),
      ),
    },
    rows(out.ProposalReceiptRow),
  ),
  gateProposal: call('ops_gate_proposal', { id: arg.uuid.orDefault }, row(out.GateVerdict)),
  regateProposals: call(
    'ops_regate_proposals',
    { limit: arg.int.orDefault },
    value(z.object({ gated: z.int(), approved: z.int(), rejected: z.int(), more: z.boolean() })),
  ),
  approveProposal: call(
    'ops_approve_proposal',
    { id: arg.uuid, actor: arg.text.orDefault, reason: arg.text.orDefault, contentHash: arg.text.orDefault },
    value(out.ProposalReceipt),
  ),
  reviseProposal: call(
    'ops_revise_proposal',
    { id: arg.uuid, template: arg.jsonb(document), actor: arg.text.orDefault, reason: arg.text.orDefault },
    value(out.ProposalReceipt),
  ),
  castVote: call(
    'ops_cast_vote',
    { id: arg.uuid, voter: arg.text, vote: arg.text, reason: arg.text.orDefault },
    value(out.ProposalReceipt),
  ),
  rejectProposal: call(
    'ops_reject_proposal',
    { id: arg.uuid, actor: arg.text.orDefault, reason: arg.text.orDefault },
    value(out.ProposalReceipt),
  ),
  makeApprovalLinks: call(
    'ops_make_approval_links',
    { proposalId: arg.uuid, actor: arg.text, ttlSeconds: arg.int.orDefault },
    value(out.ApprovalLinks),
  ),
  makeLinksAsStep: call(
    'ops_make_links_as_step',
    { worker: arg.text, stepId: arg.uuid, leaseEpoch: arg.bigint },
    value(out.ApprovalLinks),
  ),
  lookAtLink: call('ops_look_at_link', { token: arg.text }, value(out.LinkLook)),
  useLink: call('ops_use_link', { token: arg.text, reason: arg.text.orDefault }, value(out.LinkUse)),
  voteAsStep: call(
    'ops_vote_as_step',
    { worker: arg.text, stepId: arg.uuid, leaseEpoch: arg.bigint },
    value(out.StepVote),
  ),
  listProposals: call(
    'ops_list_proposals',
    { status: arg.text.orDefault, limit: arg.int.orDefault, before: arg.timestamp.orDefault },
    rows(out.ProposalRow),
  ),

  // the worker's side
  registerWorker: call(
    'ops_register_worker',
    {
      name: arg.text,
      instance: arg.uuid,
      host: arg.text,
      pid: arg.int,
      executors: arg.jsonb(z.array(input.ExecutorRegistration)),
      takeover: arg.boolean.orDefault,
    },
    value(out.Registration),
  ),
  unregisterWorker: call(
    'ops_unregister_worker',
    { name: arg.text, instance: arg.uuid },
    value(z.object({ removed: z.boolean() })),
  ),
  workerConfig: call('ops_worker_config', {}, value(out.WorkerConfig)),
  claimSteps: call(
    'ops_claim_steps',
    {
      ...{ worker: arg.text, executors: arg.texts, limit: arg.int.orDefault },
      ...{ leaseSeconds: arg.numeric.orDefault, marks: arg.jsonb(input.ClaimMarks).orDefault },
    },
    rows(out.ClaimedStep),
  ),
  workerIdle: call(
    'ops_worker_idle',
    { worker: arg.text, executors: arg.texts, instance: arg.uuid.orDefault },
    value(out.WorkerIdle),
  ),
  renewLeases: call(
    'ops_renew_leases',
    {
      worker: arg.text,
      leases: arg.jsonb(z.array(input.LeaseRef)),
      leaseSeconds: arg.numeric.orDefault,
      instance: arg.uuid.orDefault,
    },
    rows(out.Renewal),
  ),
  completeSteps: call(
    'ops_complete_steps',
    { worker: arg.text, results: arg.jsonb(z.array(input.StepResult)) },
    rows(out.WriteBack),
  ),
  failSteps: call(
    'ops_fail_steps',
    { worker: arg.text, failures: arg.jsonb(z.array(input.StepFailure)) },
    rows(out.FailureWriteBack),
  ),
  releaseSteps: call(
    'ops_release_steps',
    { worker: arg.text, leases: arg.jsonb(z.array(input.LeaseRef)) },
    rows(out.WriteBack),
  ),

  // an operator's verbs
  retryStep: call('ops_retry_step', { id: arg.uuid, reason: arg.text.orDefault }, value(out.StepChange)),
  retryMission: call(
    'ops_retry_mission',
    { id: arg.uuid, reason: arg.text.orDefault },
    value(out.MissionChange),
  ),
  cancelStep: call('ops_cancel_step', { id: arg.uuid, reason: arg.text.orDefault }, value(out.StepChange)),
  cancelMission: call(
    'ops_cancel_mission',
    { id: arg.uuid, reason: arg.text.orDefault },
    value(out.MissionChange),
  ),
  retryReaction: call(
    'ops_retry_reaction',
    { id: arg.uuid },
    value(z.object({ id: z.uuid(), status: z.string() })),
  ),
  listDeadLetters: call(
    'ops_list_dead_letters',
    { state: arg.text.orDefault, limit: arg.int.orDefault, before: arg.timestamp.orDefault },
    rows(out.DeadLetter),
  ),
  requeueDeadLetter: call(
    'ops_requeue_dead_letter',
    { id: arg.uuid, reason: arg.text.orDefault },
    value(out.DeadLetterChange),
  ),
  requeueDeadLetters: call(
    'ops_requeue_dead_letters',
    {
      filter: arg.jsonb(input.DeadLetterFilter).orDefault,
      limit: arg.int.orDefault,
      perMinute: arg.int.orDefault,
      reason: arg.text.orDefault,
    },
    value(z.object({ requeued: z.int(), more: z.boolean() })),
  ),
  discardDeadLetter: call(
    'ops_discard_dead_letter',
    { id: arg.uuid, reason: arg.text },
    value(out.DeadLetterChange),
  ),

  // the demand radar; a step names itself and its lease epoch, everybody else leaves them out
  radarAdd: call(
    'ops_radar_add',
    {
      signals: arg.jsonb(z.array(input.RadarInput)),
      stepId: arg.uuid.orDefault,
      leaseEpoch: arg.bigint.orDefault,
    },
    rows(out.RadarReceipt),
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
    value(out.RadarMove),
  ),
  radarWeigh: call(
    'ops_radar_weigh',
    { id: arg.uuid, weight: arg.numeric, stepId: arg.uuid.orDefault, leaseEpoch: arg.bigint.orDefault },
    value(out.RadarWeight),
  ),
  radarMerge: call(
    'ops_radar_merge',
    { from: arg.uuid, into: arg.uuid, reason: arg.text.orDefault, actor: arg.text.orDefault },
    value(out.RadarMerge),
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
    rows(out.RadarSignal),
  ),
  radarTop: call('ops_radar_top', { count: arg.int.orDefault }, rows(out.RadarSignal)),
  radarGet: call(
    'ops_radar_get',
    { id: arg.uuid.orDefault, dedupeKey: arg.text.orDefault },
    value(out.RadarDetail),
  ),

  // policy and switches
  setPolicy: call(
    'ops_set_policy',
    { key: arg.text, value: arg.jsonb(z.json()), reason: arg.text.orDefault },
    value(out.PolicyVersion),
  ),
  rollbackPolicy: call(
    'ops_rollback_policy',
    { key: arg.text, version: arg.bigint, reason: arg.text.orDefault },
    value(out.PolicyVersion),
  ),
  recordRefusal: call(
    'ops_record_refusal',
    { key: arg.text, reason: arg.text },
    value(z.object({ key: z.string() })),
  ),
  getPolicy: call('ops_get_policy', { key: arg.text }, value(out.Policy)),
  listPolicyVersions: call(
    'ops_list_policy_versions',
    { key: arg.text.orDefault, limit: arg.int.orDefault, before: arg.bigint.orDefault },
    rows(out.PolicyHistory),
  ),
  validatePolicy: call(
    'ops_validate_policy',
    { key: arg.text, value: arg.jsonb(z.json()) },
    rows(out.PolicyProblem),
  ),
  applyPolicies: call(
    'ops_apply_policies',
    {
      values: arg.jsonb(z.partialRecord(z.enum(policyKeys), z.json())),
      versions: arg.jsonb(z.partialRecord(z.enum(policyKeys), z.number())).orDefault,
      reason: arg.text.orDefault,
    },
    value(z.object({ changed: z.array(out.PolicyVersion) })),
  ),
  simulate: call(
    'ops_simulate',
    {
      drafts: arg.jsonb(z.partialRecord(z.enum(policyKeys), z.json())).orDefault,
      since: arg.timestamp.orDefault,
      until: arg.timestamp.orDefault,
      events: arg.jsonb(z.array(document)).orDefault,
      limit: arg.int.orDefault,
      cursor: arg.jsonb(document).orDefault,
    },
    value(out.SimulationPage),
  ),
  pause: call(
    'ops_pause',
    {
      scope: arg.text,
      mode: { ...arg.text.orDefault, schema: z.enum(switchModes).optional() },
      reason: arg.text.orDefault,
    },
    value(document),
  ),
  resume: call('ops_resume', { scope: arg.text, reason: arg.text.orDefault }, value(document)),

  // who may call, and how often
  createKey: call(
    'ops_create_key',
    {
      label: arg.text,
      scope: { ...arg.text, schema: z.enum(keyScopes) },
      prefix: arg.text,
      hash: arg.text,
      expiresDays: arg.numeric.orDefault,
      actor: arg.text.orDefault,
    },
    value(out.KeyReceipt),
  ),
  checkKey: call('ops_check_key', { hash: arg.text }, value(out.KeyHolder.nullable())),
  rotateKey: call(
    'ops_rotate_key',
    {
      key: arg.text,
      prefix: arg.text,
      hash: arg.text,
      graceHours: arg.numeric.orDefault,
      actor: arg.text.orDefault,
    },
    value(out.KeyReceipt),
  ),
  revokeKey: call(
    'ops_revoke_key',
    { key: arg.text, actor: arg.text.orDefault, reason: arg.text.orDefault },
    rows(out.RevokedKey),
  ),
  revokeKeys: call(
    'ops_revoke_keys',
    { actor: arg.text.orDefault, reason: arg.text.orDefault },
    value(z.object({ keys: z.int(), sessions: z.int() })),
  ),
  listKeys: call('ops_list_keys', { all: arg.boolean.orDefault }, rows(out.ListedKey)),
  keyProblems: call('ops_key_problems', {}, rows(out.KeyProblem)),
  seeSecrets: call(
    'ops_see_secrets',
    { secrets: arg.jsonb(z.record(z.string(), z.string())) },
    value(z.record(z.string(), z.number())),
  ),
  openSession: call(
    'ops_open_session',
    {
      signInHash: arg.text,
      sessionHash: arg.text,
      scope: arg.text,
      label: arg.text,
      keyId: arg.uuid.orDefault,
      hours: arg.numeric.orDefault,
    },
    value(z.object({ opened: z.boolean(), expires_at: out.timestamp.nullable() })),
  ),
  checkSession: call('ops_check_session', { hash: arg.text }, value(out.SessionHolder.nullable())),
  endSession: call('ops_end_session', { hash: arg.text }, value(z.object({ ended: z.boolean() }))),
  takeRate: call(
    'ops_take_rate',
    { bucket: arg.text, limit: arg.int, windowSeconds: arg.numeric },
    value(out.RateVerdict),
  ),

  // why, and how it goes
  why: call('ops_why', { id: arg.uuid }, value(out.Explanation)),
  explainEvent: call('ops_explain_event', { id: arg.uuid }, value(out.Explanation)),
  explainProposal: call('ops_explain_proposal', { id: arg.uuid }, value(out.Explanation)),
  explainStep: call('ops_explain_step', { id: arg.uuid }, value(out.Explanation)),
  explainMission: call('ops_explain_mission', { id: arg.uuid }, value(out.Explanation)),
  trace: call('ops_trace', { id: arg.uuid }, value(out.TraceNode)),
  listBudgets: call('ops_list_budgets', {}, rows(out.Budget)),
  reportLlm: call(
    'ops_report_llm',
    { worker: arg.text, providers: arg.jsonb(z.array(input.LlmReport)) },
    rows(out.LlmResetWanted),
  ),
  llmHealth: call('ops_llm_health', {}, value(out.LlmHealth)),
  resetLlm: call(
    'ops_reset_llm',
    { provider: arg.text.orDefault },
    value(z.object({ workers: z.array(z.string()) })),
  ),
  status: call('ops_status', {}, value(out.Status)),
  health: call('ops_health', {}, value(out.Health)),
  alerts: call('ops_alerts', {}, rows(out.Alert)),
  metrics: call('ops_metrics', {}, rows(out.Metric)),
  recordBackup: call(
    'ops_record_backup',
    { backup: arg.jsonb(document).orDefault },
    value(out.RecordedBackup),
  ),
  checkInvariants: call(
    'ops_check_invariants',
    { cheap: arg.boolean.orDefault },
    rows(out.InvariantViolation),
  ),
  archive: call(
    'ops_archive',
    { limit: arg.int.orDefault, dryRun: arg.boolean.orDefault, cursor: arg.bigint.orDefault },
    value(out.Archived),
  ),

  // lists for people, and what has changed
  listMissions: call(
    'ops_list_missions',
    {
      status: arg.text.orDefault,
      pattern: arg.text.orDefault,
      limit: arg.int.orDefault,
      cursor: arg.text.orDefault,
    },
    rows(out.MissionRow),
  ),
  getMission: call('ops_get_mission', { id: arg.uuid }, value(out.Mission)),
  getStep: call('ops_get_step', { id: arg.uuid }, value(out.Step)),
  listPolicies: call('ops_list_policies', {}, rows(out.Policy)),
  listChanges: call('ops_list_changes', { since: arg.timestamp, limit: arg.int.orDefault }, rows(out.Change)),

  // what has ended, for OpenTelemetry
  takeSpans: call('ops_take_spans', { limit: arg.int.orDefault }, value(out.TakenSpans)),
  traceContexts: call('ops_trace_contexts', { missions: arg.uuids }, rows(out.TraceContext)),

  schemaVersion: call('ops_schema_version', {}, value(z.string())),
};

type Calls = typeof calls;
type Method<C> =
  C extends Call<infer P, infer R>
    ? // biome-ignore lint/complexity/noBannedTypes: an empty parameter list is exactly `{}`
      {} extends Arguments<P>
      ? (args?: Arguments<P>, options?: CallOptions) => Promise<R>
      : (args: Arguments<P>, options?: CallOptions) => Promise<R>
    : never;

/** One method per SQL function. */
export type OpsPort = { [K in keyof Calls]: Method<Calls[K]> };

export type CallOptions = { deadlineMs?: number };

/** An adapter: sends one function call and answers its rows (or its one value, in a list of one). */
export type Transport = (request: Request, options: CallOptions) => Promise<unknown[]>;

/** Builds the port over an adapter. Throws `OPS_011` for arguments that don't fit, whatever `Transport` throws. */
export function createPort(send: Transport): OpsPort {
  const methods = Object.entries(calls).map(([name, c]) => [
    name,
    method(c as Call<Record<string, never>, unknown>, send),
  ]);
  return Object.fromEntries(methods) as OpsPort;
}

function method(c: Call<Record<string, never>, unknown>, send: Transport) {
  return async (args: Record<string, unknown> = {}, options: CallOptions = {}): Promise<unknown> => {
    const answer = await send({ fn: c.fn, args: encode(c, args), kind: c.shape.kind }, options);
    const parsed = c.shape.schema.safeParse(c.shape.kind === 'rows' ? answer : answer[0]);
    if (parsed.success) return parsed.data;
    throw new OpsError(
      'OPS_013',
      `${c.fn} answered what this code does not expect: ${z.prettifyError(parsed.error)}`,
      {
        hint: 'Run `ops-loop migrate` so that schema and code match.',
      },
    );
  };
}

function encode(c: Call<Record<string, never>, unknown>, args: Record<string, unknown>): Request['args'] {
  const params = c.params as Record<string, { sql: string; schema: z.ZodType }>;
  const stray = Object.keys(args).find((name) => !(name in params));
  if (stray !== undefined) throw new OpsError('OPS_011', `${c.fn} takes no argument ${stray}`);
  return Object.entries(params).flatMap(([name, { sql, schema }]) => {
    const parsed = schema.safeParse(args[name]);
    if (!parsed.success)
      throw new OpsError('OPS_011', `${c.fn}: ${name}: ${z.prettifyError(parsed.error)}`, {
        detail: parsed.error.issues,
        hint: 'Correct the named argument and call again.',
      });
    return parsed.data === undefined ? [] : [{ name: sqlName(name), sql, value: parsed.data }];
  });
}
