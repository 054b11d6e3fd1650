/**
 * `/api/ops/policies`: what operators decide. A write is validated, versioned and recorded by the engine; one that it
 * refuses leaves the event `policy:refused`. Who wrote stands in the reason, since every key writes as one role.
 */
import { z } from 'zod';
import { rollbackPolicyOrAlarm, setPoliciesOrAlarm, setPolicyOrAlarm } from '../../supabase/client/policy.js';
import { Policy, PolicyHistory, PolicyVersion } from '../../supabase/client/schemas/rows.js';
import { policyKeys } from '../../supabase/client/terms.js';
import { answers, endpoint } from './endpoint.js';
import { fromKey, limit, reason, signedReason } from './input.js';

export const Key = z.strictObject({ key: z.enum(policyKeys) });
const version = z.coerce.number().int().min(1);
const HistoryQuery = z.strictObject({
  limit,
  /** Only versions below this one; the last row's `version` is the next page's cursor. */
  before: version.optional(),
});
const Write = z.strictObject({
  value: z.json(),
  /** The version that the value was made from: 409 when somebody has changed it since. 0 when there was none. */
  version: z.int().min(0).optional(),
  reason,
  actor: fromKey,
});
const Rollback = z.strictObject({ version: z.int().min(1), reason, actor: fromKey });
const List = z.object({ policies: z.array(Policy) });
const History = z.object({ versions: z.array(PolicyHistory), next_before: z.number().nullable() });
const written = { 200: answers('The version that is active now.', PolicyVersion) };

export const listPolicies = endpoint(
  {
    summary: 'Every policy that is set; the defaults hold for the others',
    answers: { 200: answers('The policies, by key.', List) },
  },
  async (c, _, { port }) => c.json({ policies: await port.listPolicies() }),
);

export const showPolicy = endpoint(
  { summary: 'One policy', params: Key, answers: { 200: answers('The policy.', Policy) } },
  async (c, { params }, { port }) => c.json(await port.getPolicy(params)),
);

export const writePolicy = endpoint(
  { summary: 'Replaces a policy', params: Key, body: Write, answers: written },
  async (c, { params: { key }, body: { value, version, reason } }, { port }) => {
    const why = signedReason(c.get('actor'), reason);
    if (version === undefined) return c.json(await setPolicyOrAlarm(port, { key, value, ...why }));
    const asked = { values: { [key]: value }, versions: { [key]: version }, ...why };
    const { changed } = await setPoliciesOrAlarm(port, asked);
    return c.json(changed[0] ?? { key, version });
  },
);

export const rollbackPolicy = endpoint(
  {
    summary: 'Makes what a policy was at a version its newest version',
    params: Key,
    body: Rollback,
    answers: written,
  },
  async (c, { params, body: { version, reason } }, { port }) => {
    const why = signedReason(c.get('actor'), reason);
    return c.json(await rollbackPolicyOrAlarm(port, { ...params, version, ...why }));
  },
);

export const showPolicyHistory = endpoint(
  {
    summary: 'The versions of a policy, newest first: what, when, by whom, why',
    params: Key,
    query: HistoryQuery,
    answers: { 200: answers('A page; `next_before` is null on the last one.', History) },
  },
  async (c, { params, query }, { port }) => {
    const versions = await port.listPolicyVersions({ ...params, ...query });
    const last = versions.length < query.limit ? undefined : versions.at(-1);
    return c.json({ versions, next_before: last?.version ?? null });
  },
);
