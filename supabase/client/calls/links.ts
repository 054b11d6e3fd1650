/** Links that approve or reject one proposal, once. */
import { z } from 'zod';
import { arg, call, value } from '../call.js';
import { json, timestamp } from '../schemas/values.js';
import * as terms from '../terms.js';
import { ProposalReceipt } from './proposals.js';

/** Two tokens for `/api/ops/links/<token>`; the database keeps their hashes only. */
export const ApprovalLinks = z.object({
  approve: z.string(),
  reject: z.string(),
  proposal_id: z.uuid(),
  title: z.string().nullable(),
  risk: z.string().nullable(),
  expires_at: timestamp,
});
export type ApprovalLinks = z.infer<typeof ApprovalLinks>;

export const LinkLook = z.object({
  verdict: z.enum(['approve', 'reject']),
  actor: z.string(),
  expires_at: timestamp,
  state: z.enum(['open', 'used', 'ended', 'expired', 'gone', 'decided', 'changed']),
  /** The state in words; null while it is open. */
  why_not: z.string().nullable(),
  proposal_id: z.uuid(),
  title: z.string().nullable(),
  risk: z.string().nullable(),
  status: z.enum(terms.proposalStatuses).nullable(),
  reason: z.string().nullable(),
  created_at: timestamp.nullable(),
  pattern_id: z.string().nullable(),
  /** What would run; null unless the link is open. */
  template: json,
});
export type LinkLook = z.infer<typeof LinkLook>;

export const LinkUse = ProposalReceipt.extend({ verdict: z.enum(['approve', 'reject']) });
export type LinkUse = z.infer<typeof LinkUse>;

export const linkCalls = {
  makeApprovalLinks: call(
    'ops_make_approval_links',
    { proposalId: arg.uuid, actor: arg.text, ttlSeconds: arg.int.orDefault },
    value(ApprovalLinks),
  ),
  makeLinksAsStep: call(
    'ops_make_links_as_step',
    { worker: arg.text, stepId: arg.uuid, leaseEpoch: arg.bigint },
    value(ApprovalLinks),
  ),
  lookAtLink: call('ops_look_at_link', { token: arg.text }, value(LinkLook)),
  useLink: call('ops_use_link', { token: arg.text, reason: arg.text.orDefault }, value(LinkUse)),
};
