/** Proposals: made, gated, decided by people and by votes. */
import { z } from 'zod';
import { arg, call, row, rows, value } from '../call.js';
import { document, json, timestamp } from '../schemas/values.js';
import * as terms from '../terms.js';

export const ProposalReceipt = z.object({
  id: z.uuid(),
  status: z.enum(terms.proposalStatuses),
  created: z.boolean(),
  reason: z.string().nullable(),
  mission_id: z.uuid().nullable(),
});

export const ProposalReceiptRow = ProposalReceipt.extend({ position: z.int() });

export const GateVerdict = z.object({ ok: z.boolean(), reason: z.string() });

/** `counted` is false when the proposal was decided before the vote came. */
export const StepVote = ProposalReceipt.extend({ voter: z.string(), counted: z.boolean() });

export const ProposalRow = z.object({
  id: z.uuid(),
  title: z.string().nullable(),
  source: z.enum(terms.proposalSources),
  status: z.enum(terms.proposalStatuses),
  risk: z.string().nullable(),
  reason: z.string().nullable(),
  pattern_id: z.string().nullable(),
  event_id: z.uuid().nullable(),
  template: json,
  /** What an approval names, so that it holds for exactly what was shown. */
  content_hash: z.string().nullable(),
  /** When the default action of the `approvals` policy is taken; null means never. */
  expires_at: timestamp.nullable(),
  created_at: timestamp,
});

export const proposalCalls = {
  createProposal: call(
    'ops_create_proposal',
    {
      template: arg.jsonb(document),
      source: arg.text.orDefault,
      dedupeKey: arg.text.orDefault,
      proposedBy: arg.text.orDefault,
    },
    value(ProposalReceipt),
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
            traceparent: z.string().max(100).optional(),
          }),
        ),
      ),
    },
    rows(ProposalReceiptRow),
  ),
  gateProposal: call('ops_gate_proposal', { id: arg.uuid.orDefault }, row(GateVerdict)),
  regateProposals: call(
    'ops_regate_proposals',
    { limit: arg.int.orDefault },
    value(z.object({ gated: z.int(), approved: z.int(), rejected: z.int(), more: z.boolean() })),
  ),
  approveProposal: call(
    'ops_approve_proposal',
    { id: arg.uuid, actor: arg.text.orDefault, reason: arg.text.orDefault, contentHash: arg.text.orDefault },
    value(ProposalReceipt),
  ),
  rejectProposal: call(
    'ops_reject_proposal',
    { id: arg.uuid, actor: arg.text.orDefault, reason: arg.text.orDefault },
    value(ProposalReceipt),
  ),
  reviseProposal: call(
    'ops_revise_proposal',
    { id: arg.uuid, template: arg.jsonb(document), actor: arg.text.orDefault, reason: arg.text.orDefault },
    value(ProposalReceipt),
  ),
  castVote: call(
    'ops_cast_vote',
    { id: arg.uuid, voter: arg.text, vote: arg.text, reason: arg.text.orDefault },
    value(ProposalReceipt),
  ),
  voteAsStep: call(
    'ops_vote_as_step',
    { worker: arg.text, stepId: arg.uuid, leaseEpoch: arg.bigint },
    value(StepVote),
  ),
  listProposals: call(
    'ops_list_proposals',
    { status: arg.text.orDefault, limit: arg.int.orDefault, before: arg.timestamp.orDefault },
    rows(ProposalRow),
  ),
  listWaiting: call('ops_list_waiting', { limit: arg.int.orDefault }, rows(ProposalRow)),
};
