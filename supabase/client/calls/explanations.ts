/** Why something did or did not happen, and what led to what. */
import { z } from 'zod';
import { arg, call, value } from '../call.js';
import { json } from '../schemas/values.js';

/** A sentence a person understands, with everything it rests on beside it. */
export const Explanation = z.looseObject({
  kind: z.enum(['event', 'proposal', 'step', 'mission']),
  id: z.uuid(),
  sentences: z.array(z.string()),
});

/** One node of the causal tree, oldest first. */
export type TraceNode = {
  kind: 'event' | 'decision' | 'reaction' | 'proposal' | 'mission' | 'step' | 'attempt';
  id: string;
  label: string;
  status: string | null;
  at: string | null;
  detail: z.infer<typeof json>;
  children: TraceNode[];
};
export const TraceNode: z.ZodType<TraceNode> = z.object({
  kind: z.enum(['event', 'decision', 'reaction', 'proposal', 'mission', 'step', 'attempt']),
  id: z.string(),
  label: z.string(),
  status: z.string().nullable(),
  at: z.string().nullable(),
  detail: json,
  get children(): z.ZodType<TraceNode[]> {
    return z.array(TraceNode);
  },
});

export const explanationCalls = {
  why: call('ops_why', { id: arg.uuid }, value(Explanation)),
  explainEvent: call('ops_explain_event', { id: arg.uuid }, value(Explanation)),
  explainProposal: call('ops_explain_proposal', { id: arg.uuid }, value(Explanation)),
  explainStep: call('ops_explain_step', { id: arg.uuid }, value(Explanation)),
  explainMission: call('ops_explain_mission', { id: arg.uuid }, value(Explanation)),
  trace: call('ops_trace', { id: arg.uuid }, value(TraceNode)),
};
