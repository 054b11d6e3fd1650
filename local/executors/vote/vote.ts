/**
 * The `vote` executor: a role's voice on a proposal that waits. Who votes, on what and how stands in the step's row, and
 * the engine reads it there; this only asks for it to be counted.
 *
 * @example steps: a role judges, then votes
 * [{ "key": "judge", "kind": "agent", "params": { "role": "sage", "prompt": "Should this run?", "input": "{{event.data}}",
 *    "output": { "type": "object", "properties": { "vote": { "enum": ["approve", "reject"] } }, "required": ["vote"] } } },
 *  { "kind": "vote", "params": { "role": "sage", "proposal_id": "{{event.data.proposal_id}}",
 *    "vote": "{{steps.judge.result.output.vote}}" } }]
 */
import { z } from 'zod';
import { AgentRoles } from '../../../supabase/client/schemas/policies.js';
import { defineExecutor, type StepContext } from '../contract.js';
import { engineRefusal } from '../refusal.js';

const Params = z.strictObject({
  proposal_id: z.uuid(),
  vote: z.enum(['approve', 'reject']),
  /** Written out in the template: a placeholder is nobody. */
  role: AgentRoles.keyof(),
  reason: z.string().max(2_000).optional(),
});

const Result = z.object({
  proposal_id: z.uuid(),
  voter: z.string(),
  vote: z.enum(['approve', 'reject']),
  /** False when the proposal was decided before. */
  counted: z.boolean(),
  /** Of the proposal, after this vote. */
  status: z.string(),
  mission_id: z.uuid().nullable(),
});

export const vote = defineExecutor({
  name: 'vote',
  params: Params,
  result: Result,
  traits: { idempotent: true, risk: 'low', fixed: ['role'] },
  run: castVote,
});

async function castVote(ctx: StepContext<z.output<typeof Params>>): Promise<z.input<typeof Result>> {
  const { stepId, leaseEpoch, params } = ctx;
  const receipt = await ctx.db.voteAsStep({ stepId, leaseEpoch }).catch((error: unknown) => {
    throw engineRefusal(error);
  });
  const { id, voter, counted, status, mission_id } = receipt;
  return { proposal_id: id, voter, vote: params.vote, counted, status, mission_id };
}
