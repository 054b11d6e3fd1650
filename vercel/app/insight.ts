/** How it goes, and why: counts, the explanation of one row, and the causal tree around it. Nothing here writes. */
import { Explanation, Status, TraceNode } from '../../supabase/client/schemas/rows.js';
import { answers, endpoint } from './endpoint.js';
import { Id } from './input.js';

export const showStatus = endpoint(
  { summary: 'Counts by state', answers: { 200: answers('The counts.', Status) } },
  async (c, _, { port }) => c.json(await port.status()),
);

export const explain = endpoint(
  {
    summary: 'Why it is as it is: an event, a proposal, a mission or a step',
    params: Id,
    answers: { 200: answers('Sentences, and what they rest on.', Explanation) },
  },
  async (c, { params }, { port }) => c.json(await port.why(params)),
);

export const showTrace = endpoint(
  {
    summary: 'The causal tree around an event, a proposal, a mission or a step',
    params: Id,
    answers: { 200: answers('The root of the tree.', TraceNode) },
  },
  async (c, { params }, { port }) => c.json(await port.trace(params)),
);
