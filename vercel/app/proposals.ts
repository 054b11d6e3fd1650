/**
 * `/api/ops/proposals`: what waits, asking for work, and a person's word on it. Who decides, votes or revises is the
 * holder of the key or session; a body that names somebody is refused, so that nobody believes it was heard.
 */
import { z } from 'zod';
import { ProposalReceipt, ProposalRow, timestamp } from '../../supabase/client/schemas/rows.js';
import { proposalStatuses } from '../../supabase/client/terms.js';
import type { Identity } from './deps.js';
import { answers, endpoint } from './endpoint.js';
import { fromKey, Id, nextBefore, pageOf, reason, verb } from './input.js';
import { traceMember } from './trace-context.js';

const template = z.record(z.string(), z.json());
const NewProposal = z.strictObject({
  template,
  /** A second proposal with the same key answers the first. */
  dedupe_key: z.string().min(1).max(500).optional(),
});
const Vote = z.strictObject({ vote: z.enum(['approve', 'reject']), reason, voter: fromKey, actor: fromKey });
const Revision = z.strictObject({ template, reason, actor: fromKey });
const Page = z.object({ proposals: z.array(ProposalRow), next_before: timestamp.nullable() });

export const listProposals = endpoint(
  {
    summary: 'Proposals, newest first',
    query: pageOf({ status: z.enum(proposalStatuses).optional() }),
    answers: { 200: answers('A page; `next_before` is null on the last one.', Page) },
  },
  async (c, { query }, { port }) => {
    const proposals = await port.listProposals(query);
    return c.json({ proposals, next_before: nextBefore(proposals, query.limit) });
  },
);

export const createProposal = endpoint(
  {
    summary: 'Proposes a mission; the gates speak at once or at the next beat',
    body: NewProposal,
    answers: {
      201: answers('The new proposal.', ProposalReceipt),
      200: answers('The proposal that has this dedupe key already.', ProposalReceipt),
    },
  },
  async (c, { body }, { port }) => {
    const { proposedBy } = proposer(c.get('identity'));
    const who = proposedBy === undefined ? {} : { proposed_by: proposedBy };
    const trace = traceMember(c.req.header('traceparent'));
    const [answer] = await port.createProposals({
      proposals: [{ ...body, source: 'api', ...who, ...trace }],
    });
    const receipt = ProposalReceipt.parse(answer);
    return c.json(receipt, receipt.created ? 201 : 200);
  },
);

/** Whoever proposed it may not approve it. OPS_API_KEY is many callers' at once, so it proposes in nobody's name. */
export const proposer = ({ by, label }: Identity): { proposedBy?: string } =>
  by === 'environment' ? {} : { proposedBy: label };

const decided = { 200: answers('What became of it.', ProposalReceipt) };

export const approveProposal = endpoint(
  { summary: 'Approves a proposal', ...verb, answers: decided },
  async (c, { params, body }, { port }) =>
    c.json(await port.approveProposal({ ...params, actor: c.get('actor'), reason: body.reason })),
);

export const rejectProposal = endpoint(
  { summary: 'Rejects a proposal', ...verb, answers: decided },
  async (c, { params, body }, { port }) =>
    c.json(await port.rejectProposal({ ...params, actor: c.get('actor'), reason: body.reason })),
);

export const castVote = endpoint(
  {
    summary: 'Votes on a proposal; the thresholds of `approvals.voting` decide',
    params: Id,
    body: Vote,
    answers: decided,
  },
  async (c, { params, body: { vote, reason } }, { port }) =>
    c.json(await port.castVote({ ...params, voter: c.get('actor'), vote, reason })),
);

export const reviseProposal = endpoint(
  {
    summary: 'Rejects a proposal and proposes another in its place, which somebody else has to approve',
    params: Id,
    body: Revision,
    answers: { 201: answers('The new proposal.', ProposalReceipt) },
  },
  async (c, { params, body: { template, reason } }, { port }) =>
    c.json(await port.reviseProposal({ ...params, template, actor: c.get('actor'), reason }), 201),
);
