/**
 * The JSON that openclaw prints, as OpenClaw documents it (docs/cli/agent.md, docs/cli/index.md) and as 2026.9.6 prints
 * it. Members that are malformed count as not there: a step must not fail over a figure.
 */
import { z } from 'zod';

const word = z.string().min(1).optional().catch(undefined);
const amount = z.number().nonnegative().optional().catch(undefined);
const flag = z.boolean().catch(false);
const words = z.array(z.string()).catch([]);

const Payload = z.object({
  text: word,
  mediaUrl: word,
  mediaUrls: words,
  isError: flag,
  isReasoning: flag,
  isCommentary: flag,
});
const payloads = z.array(Payload.catch(Payload.parse({}))).catch([]);
export type Payloads = z.output<typeof payloads>;

const Figures = z.object({
  usage: z
    .object({
      input: amount,
      output: amount,
      total: amount,
      cost: z.object({ total: amount }).optional().catch(undefined),
    })
    .optional()
    .catch(undefined),
  costUsd: amount,
  model: word,
  provider: word,
  sessionId: word,
  bridgeCalls: z.object({ call: amount }).optional().catch(undefined),
});
export type Figures = z.output<typeof Figures>;

const toolSummary = z.object({ calls: amount, tools: words }).optional().catch(undefined);
export type ToolSummary = z.output<typeof toolSummary>;
const failure = z.object({ message: word, kind: word }).optional().catch(undefined);

/** `agent exec --json`. */
export const Exec = Figures.extend({
  ok: z.boolean(),
  status: z.string(),
  final: z.string().catch(''),
  payloads,
  toolSummary,
  error: failure,
});

const Meta = z.object({
  agentMeta: Figures.catch(Figures.parse({})),
  toolSummary,
  finalAssistantVisibleText: word,
  aborted: flag,
  error: failure,
  stopReason: word,
  // The marks of a turn that ran again in openclaw's own process (releases before 2026.8.1).
  transport: word,
  fallbackFrom: word,
  fallbackReason: word,
  fallback: z.looseObject({}).optional().catch(undefined),
});
export type Meta = z.output<typeof Meta>;
const Turn = z.object({ payloads, meta: Meta.catch(Meta.parse({})) });
export type Turn = z.output<typeof Turn>;
const deliveryStatus = z.object({ status: z.string(), reason: word }).optional().catch(undefined);

/** `agent --json`, run by a Gateway. */
export const Gateway = z.object({
  runId: word,
  status: z.string(),
  summary: word,
  result: Turn.optional().catch(undefined),
  deliveryStatus,
});

/** `agent --json`, run in openclaw's own process. Some have no payloads, and logs have a `meta` too. */
const timed = z.looseObject({ meta: z.looseObject({ durationMs: z.number() }) });
const paid = z.looseObject({ payloads: z.array(z.unknown()) });
export const Embedded = z.union([timed, paid]).pipe(Turn.extend({ deliveryStatus }));

/** Any command that fails as a command. */
export const Refusal = z.object({
  ok: z.literal(false),
  error: z.object({ message: z.string() }),
  runId: word,
  origin: word,
});
