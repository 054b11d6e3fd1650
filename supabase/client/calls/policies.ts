/** Policies: read, written, undone and compared; and the switches, which are one of them. */
import { z } from 'zod';
import { arg, call, exact, rows, value } from '../call.js';
import { exactJson } from '../json-text.js';
import { count, document, json, timestamp } from '../schemas/values.js';
import * as terms from '../terms.js';

export const Policy = z.object({ key: z.string(), value: json, version: count, updated_at: timestamp });

export const PolicyVersion = z.object({ key: z.string(), version: count });

export const PolicyHistory = z.object({
  key: z.string(),
  version: count,
  operation: z.enum(['insert', 'update', 'delete']),
  value: json,
  old_value: json,
  updated_at: timestamp,
  role: z.string(),
  session_role: z.string(),
  application: z.string().nullable(),
  query: z.string().nullable(),
  reason: z.string().nullable(),
});

export const PolicyProblem = z.object({
  severity: z.enum(['error', 'warning']),
  path: z.string(),
  message: z.string(),
  fix: z.string().nullable(),
});

/** Policies are read to be written again, by people and by recipes: every number stays as it is. */
const ExactPolicy = Policy.extend({ value: exactJson });
const ExactHistory = PolicyHistory.extend({ value: exactJson, old_value: exactJson });

export const policyCalls = {
  getPolicy: call('ops_get_policy', { key: arg.text }, exact(value(ExactPolicy))),
  listPolicies: call('ops_list_policies', {}, exact(rows(ExactPolicy))),
  listPolicyVersions: call(
    'ops_list_policy_versions',
    { key: arg.text.orDefault, limit: arg.int.orDefault, before: arg.bigint.orDefault },
    exact(rows(ExactHistory)),
  ),
  setPolicy: call(
    'ops_set_policy',
    { key: arg.text, value: arg.jsonb(exactJson), reason: arg.text.orDefault },
    value(PolicyVersion),
  ),
  applyPolicies: call(
    'ops_apply_policies',
    {
      values: arg.jsonb(z.partialRecord(z.enum(terms.policyKeys), exactJson)),
      versions: arg.jsonb(z.partialRecord(z.enum(terms.policyKeys), z.number())).orDefault,
      reason: arg.text.orDefault,
    },
    value(z.object({ changed: z.array(PolicyVersion) })),
  ),
  rollbackPolicy: call(
    'ops_rollback_policy',
    { key: arg.text, version: arg.bigint, reason: arg.text.orDefault },
    value(PolicyVersion),
  ),
  validatePolicy: call(
    'ops_validate_policy',
    { key: arg.text, value: arg.jsonb(exactJson) },
    rows(PolicyProblem),
  ),
  recordRefusal: call(
    'ops_record_refusal',
    { key: arg.text, reason: arg.text },
    value(z.object({ key: z.string() })),
  ),
  pause: call(
    'ops_pause',
    {
      scope: arg.text,
      mode: arg.oneOf(terms.switchModes).orDefault,
      reason: arg.text.orDefault,
    },
    value(document),
  ),
  resume: call('ops_resume', { scope: arg.text, reason: arg.text.orDefault }, value(document)),
};
