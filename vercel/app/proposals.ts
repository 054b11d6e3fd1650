/**
 * `/api/ops/proposals`: what waits, asking for work, and a person's word on it. Who decides, votes or revises is the
 * holder of the key or session; a body that names somebody is refused, so that nobody believes it was heard.
 */
import { z } from 'zod';
import { proposalStatuses } from '../../supabase/client/terms.js';
import { defaultMaxKeys, readJson, readOptionalJson } from './body.js';
import type { AppContext, AppDeps, Handler, Identity } from './deps.js';
import { checkInput, listQuery, nextBefore } from './input.js';

const NewProposal = z.strictObject({
  template: z.record(z.string(), z.json()),
  /** A second proposal with the same key answers the first. */
  dedupe_key: z.string().min(1).max(500).optional(),
});
const reason = z.string().max(2_000).optional();
const fromKey = z.never({ error: 'is not taken from the body: it is the label of the key' }).optional();
const Verdict = z.strictObject({ reason, actor: fromKey });
const Vote = z.strictObject({ vote: z.enum(['approve', 'reject']), reason, voter: fromKey, actor: fromKey });
const Revision = z.strictObject({ template: z.record(z.string(), z.json()), reason, actor: fromKey });

export function listProposals({ port }: AppDeps): Handler {
  return async function listProposals(c) {
    const query = listQuery(c, 'status', proposalStatuses);
    const proposals = await port.listProposals(query);
    return c.json({ proposals, next_before: nextBefore(proposals, query.limit) });
  };
}

/** 201 for a new proposal, 200 for a known one. The gates speak at once or at the next beat: see `status`. */
export function createProposal({ port, env }: AppDeps): Handler {
  return async function createProposal(c) {
    const body = await readJson(c.req.raw, limits(env));
    const { template, dedupe_key: dedupeKey } = checkInput(NewProposal, body);
    const receipt = await port.createProposal({
      template,
      source: 'api',
      ...(dedupeKey ? { dedupeKey } : {}),
      ...proposer(c.get('identity')),
    });
    return c.json(receipt, receipt.created ? 201 : 200);
  };
}

/** Whoever proposed it may not approve it. OPS_API_KEY is many callers' at once, so it proposes in nobody's name. */
export const proposer = ({ by, label }: Identity) => (by === 'environment' ? {} : { proposedBy: label });

/** Approves or rejects. An empty body is fine. */
export function decideProposal({ port, env }: AppDeps, verb: 'approveProposal' | 'rejectProposal'): Handler {
  return async function decideProposal(c) {
    const { reason } = checkInput(Verdict, await readOptionalJson(c.req.raw, limits(env)));
    return c.json(await port[verb]({ id: idOf(c), actor: c.get('actor'), ...given({ reason }) }));
  };
}

/** `{vote: approve|reject, reason?}`; the thresholds of `approvals.voting` decide. */
export function castVote({ port, env }: AppDeps): Handler {
  return async function castVote(c) {
    const { vote, reason } = checkInput(Vote, await readJson(c.req.raw, limits(env)));
    return c.json(await port.castVote({ id: idOf(c), voter: c.get('actor'), vote, ...given({ reason }) }));
  };
}

/** `{template, reason?}` → 201: the old one is rejected, and somebody else has to approve the new one. */
export function reviseProposal({ port, env }: AppDeps): Handler {
  return async function reviseProposal(c) {
    const { template, reason } = checkInput(Revision, await readJson(c.req.raw, limits(env)));
    const revision = { id: idOf(c), template, actor: c.get('actor'), ...given({ reason }) };
    return c.json(await port.reviseProposal(revision), 201);
  };
}

const idOf = (c: AppContext): string => c.req.param('id') ?? '';
const given = ({ reason }: { reason: string | undefined }) => (reason === undefined ? {} : { reason });

const limits = (env: AppDeps['env']) => ({ maxBytes: env.OPS_MAX_BODY_BYTES, maxKeys: defaultMaxKeys });
