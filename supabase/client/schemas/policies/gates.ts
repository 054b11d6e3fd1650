/** `auto_approve`, `proposal_caps`, `approvals` and `switches`: what goes on by itself, what waits, and for whom. */
import { z } from 'zod';
import { switchModes } from '../../terms.js';
import { minutesPerYear, risk, spanUpTo, text, timeZone, whole, word } from './fields.js';

export const AutoApprove = z.strictObject({
  enabled: z.boolean(),
  /** Grants: missing or empty means none. */
  allowed_step_kinds: z.array(word).max(1000).optional(),
  max_risk_level: risk.optional(),
  /** Filters: missing means any source of proposals, empty means none. */
  allowed_sources: z.array(text(200)).max(100).optional(),
  daily_limit: whole(0, 1_000_000_000).optional(),
  /** Raises the risk of a kind or executor. */
  kind_risk: z.record(word, risk).optional(),
});

const cap = whole(0, 1_000_000_000);

/** One number for each of them, or a number by name; both are per day. */
const capEach = z.union([cap, z.record(text(200), cap)]);

export const ProposalCaps = z.strictObject({
  daily_limit: cap.optional(),
  hourly_limit: cap.optional(),
  per_source: capEach.optional(),
  per_pattern: capEach.optional(),
  max_pending: cap.optional(),
  on_exceed: z.enum(['wait', 'reject']).optional(),
  time_zone: timeZone.optional(),
});

const Voting = z.strictObject({
  enabled: z.boolean().optional(),
  min_votes: whole(1, 1000).optional(),
  /** Share of yes among the votes cast that approves. */
  approve_share: z.number().min(0).max(1).optional(),
  reject_share: z.number().min(0).max(1).optional(),
});

export const Approvals = z.strictObject({
  /** After this a waiting proposal gets the default action; missing means it waits for ever. */
  expires_minutes: spanUpTo(minutesPerYear).optional(),
  default_action: z.enum(['expire', 'reject']).optional(),
  approvers: z.array(text(200)).max(1000).optional(),
  quorum: whole(1, 100).optional(),
  /** Filters: missing means anybody, empty means nobody. Labels of keys, and roles of agents. */
  voters: z.array(text(200)).max(1000).optional(),
  voting: z
    .strictObject({
      low: Voting.optional(),
      medium: Voting.optional(),
      high: Voting.optional(),
      critical: Voting.optional(),
    })
    .optional(),
  /** Voters whose no is final. */
  veto: z.array(text(200)).max(100).optional(),
});

const scope = z
  .string()
  .max(200)
  .regex(
    /^(all|heartbeat|reactions|auto_approve|dispatch|(pattern|executor|role):[A-Za-z0-9_.-]+|mission:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/,
  )
  .describe(
    'all, heartbeat, reactions, auto_approve, dispatch, pattern:<id>, executor:<name>, role:<name> or mission:<uuid>',
  );

export const Switches = z.strictObject({
  scopes: z
    .record(
      scope,
      z.strictObject({
        mode: z.enum(switchModes),
        reason: z.string().max(1000).optional(),
        since: z.string().max(40).optional(),
      }),
    )
    .optional(),
});
