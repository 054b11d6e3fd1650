/** What a draft of policies would do with events, beside what the live ones do. */
import { z } from 'zod';
import { arg, call, value } from '../call.js';
import { exactJson } from '../json-text.js';
import { count, document, json, timestamp } from '../schemas/values.js';
import * as terms from '../terms.js';

/** What patterns and gates would do with a page of events. */
const SimulatedSide = z.object({
  /** `{pattern: {outcome: count}}` */
  patterns: z.record(z.string(), z.partialRecord(z.enum(terms.eventOutcomes), count)),
  proposals: count,
  auto_approved: count,
  waiting: count,
  /** At the reserves of `budgets`. */
  usd: count,
  tokens: count,
  /** `for_each` steps whose list only a result will tell: counted as one item each, so the cost is at least that. */
  open_lists: count,
});

const SimulatedDecision = z.object({
  outcome: z.enum(terms.eventOutcomes),
  clause: z.string().nullable(),
  detail: json,
});

const difference = { event_id: z.uuid(), type: z.string(), created_at: timestamp, pattern_id: z.string() };

const differences = <S extends z.ZodRawShape>(sides: S) =>
  z.object({
    count,
    /** Firings that the second side has and the first has not; `stops` is the reverse. */
    starts: count,
    stops: count,
    first: z.array(z.object({ ...difference, ...sides })),
  });

const decided = SimulatedDecision.nullable();

export const SimulationPage = z.object({
  events: count,
  since: timestamp,
  until: timestamp,
  live: SimulatedSide,
  draft: SimulatedSide,
  differences: differences({ live: decided, draft: decided }),
  /** Where today's live policy decides otherwise than was decided then; null for given events. */
  recorded: differences({ recorded: decided, live: decided }).nullable(),
  /** The draft's own decisions, for given events. */
  decisions: z.array(SimulatedDecision.extend({ event_id: z.uuid(), pattern_id: z.string() })).nullable(),
  more: z.boolean(),
  cursor: document.nullable(),
});
export type SimulationPage = z.infer<typeof SimulationPage>;

export const simulationCalls = {
  simulate: call(
    'ops_simulate',
    {
      drafts: arg.jsonb(z.partialRecord(z.enum(terms.policyKeys), exactJson)).orDefault,
      since: arg.timestamp.orDefault,
      until: arg.timestamp.orDefault,
      events: arg.jsonb(z.array(z.record(z.string(), exactJson.optional()))).orDefault,
      limit: arg.int.orDefault,
      cursor: arg.jsonb(document).orDefault,
    },
    value(SimulationPage),
  ),
};
