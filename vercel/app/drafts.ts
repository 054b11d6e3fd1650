/** `/api/ops/policies/…`: what is wrong with a draft, and what it would do. Nothing here writes. */
import { z } from 'zod';
import { OpsError } from '../../supabase/client/errors.js';
import { PolicyProblem, SimulationPage } from '../../supabase/client/schemas/rows.js';
import { simulate } from '../../supabase/client/simulation.js';
import { policyKeys } from '../../supabase/client/terms.js';
import { answers, endpoint } from './endpoint.js';
import { time } from './input.js';
import { Key } from './policies.js';

/** Below the 15 s that a function of ours may take, with room for the last page. */
const simulationBudgetMs = 8_000;

const Draft = z.strictObject({ value: z.json() });
const Judgement = z.object({
  /** Warnings do not stop a policy. */
  valid: z.boolean(),
  problems: z.array(PolicyProblem),
});
const Asked = z.strictObject({
  /** `{policy key: value}`; what is left out is as it is live. */
  drafts: z.partialRecord(z.enum(policyKeys), z.json()).optional(),
  /** Stored events from then on; a day ago by default. */
  since: time.optional(),
  until: time.optional(),
  /** These events instead of stored ones: `[{type, source?, data?, trust?}]`. */
  events: z.array(z.record(z.string(), z.json())).max(10_000).optional(),
});

export const validatePolicy = endpoint(
  {
    summary: 'Says what is wrong with a policy without writing it',
    params: Key,
    body: Draft,
    answers: { 200: answers('Every problem with its JSON path.', Judgement) },
  },
  async (c, { params, body }, { port }) => {
    const problems = await port.validatePolicy({ ...params, ...body });
    return c.json({ valid: problems.every(({ severity }) => severity !== 'error'), problems });
  },
);

export const simulatePolicies = endpoint(
  {
    summary: 'Says what drafts would do with events that have happened, or with given ones',
    body: Asked,
    bodyMayBeEmpty: true,
    answers: {
      200: answers('The live policies beside the drafts.', SimulationPage.omit({ cursor: true, more: true })),
    },
  },
  async (c, { body }, { port }) => {
    const signal = AbortSignal.timeout(simulationBudgetMs);
    const simulated = await simulate(port, { ...body, signal }).catch((error) => {
      throw signal.aborted && error === signal.reason ? tooLong() : error;
    });
    return c.json(simulated);
  },
);

const tooLong = (): OpsError =>
  new OpsError('OPS_011', `more events than can be simulated within ${simulationBudgetMs / 1_000} s`, {
    hint: 'Ask for a shorter span; `ops-loop policy simulate` takes any.',
  });
