/** `/api/ops/proposals`: what waits, asking for work, and a person's word on it. */
import { z } from 'zod';
import { proposalStatuses } from '../../supabase/client/terms.js';
import { defaultMaxKeys, readJson, readOptionalJson } from './body.js';
import type { AppContext, AppDeps, Handler } from './deps.js';
import { checkInput, listQuery, nextBefore } from './input.js';

const NewProposal = z.strictObject({
  template: z.record(z.string(), z.json()),
  /** A second proposal with the same key answers the first. */
  dedupe_key: z.string().min(1).max(500).optional(),
});
const Verdict = z.strictObject({
  reason: z.string().max(2_000).optional(),
  actor: z.string().min(1).max(200).optional(),
});

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
    });
    return c.json(receipt, receipt.created ? 201 : 200);
  };
}

/** Approves or rejects. An empty body is fine; a session always signs as `dashboard`. */
export function decideProposal({ port, env }: AppDeps, verb: 'approveProposal' | 'rejectProposal'): Handler {
  return async function decideProposal(c) {
    const { reason, actor } = checkInput(Verdict, await readOptionalJson(c.req.raw, limits(env)));
    const id = c.req.param('id') ?? '';
    return c.json(
      await port[verb]({ id, actor: signature(c, actor), ...(reason === undefined ? {} : { reason }) }),
    );
  };
}

/** Whoever holds the key may name the person they act for; the page may not. */
const signature = (c: AppContext, actor: string | undefined): string =>
  c.get('actor') === 'api' ? (actor ?? 'api') : c.get('actor');

const limits = (env: AppDeps['env']) => ({ maxBytes: env.OPS_MAX_BODY_BYTES, maxKeys: defaultMaxKeys });
