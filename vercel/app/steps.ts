/** `/api/ops/steps`: one unit of work, and an operator's verbs on it. A mission lists its steps. */
import { Step, StepChange } from '../../supabase/client/schemas/rows.js';
import { answers, endpoint } from './endpoint.js';
import { Id, signedReason, verb } from './input.js';

export const showStep = endpoint(
  {
    summary: 'One step with its params, its result and its latest attempts',
    params: Id,
    answers: { 200: answers('The step.', Step) },
  },
  async (c, { params }, { port }) => c.json(await port.getStep(params)),
);

const changed = { 200: answers('The step as it is now.', StepChange) };

export const retryStep = endpoint(
  {
    summary: 'Runs a failed step again, in a new series of attempts',
    ...verb,
    answers: changed,
  },
  async (c, { params, body }, { port }) =>
    c.json(await port.retryStep({ ...params, ...signedReason(c.get('actor'), body.reason) })),
);

export const cancelStep = endpoint(
  {
    summary: 'Cancels a step: at once when it has not started, with its next renewal when it runs',
    ...verb,
    answers: changed,
  },
  async (c, { params, body }, { port }) =>
    c.json(await port.cancelStep({ ...params, ...signedReason(c.get('actor'), body.reason) })),
);
