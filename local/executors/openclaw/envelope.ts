/** Reads what openclaw printed into one form, whichever shape it used. Pure. */
import type { z } from 'zod';
import { lastJson } from '../../process/last-json.js';
import { figuresOf } from './figures.js';
import type { Said } from './said.js';
import { Embedded, Exec, Gateway, type Payloads, Refusal, type Turn } from './shapes.js';

/**
 * The last answer in the output that the mode can give, else the last error of the command line, `undefined` when there
 * is neither. Noise around it does not matter, not even noise that is JSON.
 */
export function readSaid(stdout: string, mode: 'exec' | 'agent'): Said | undefined {
  const readings = [mode === 'exec' ? readExec : readTurn, readRefusal];
  for (const read of readings) {
    const said = read(lastJson(stdout, (value) => read(value) !== undefined));
    if (said !== undefined) return said;
  }
  return undefined;
}

const readExec = (value: unknown): Said | undefined => readAs(Exec, value, ofExec);
const readRefusal = (value: unknown): Said | undefined => readAs(Refusal, value, ofRefusal);

function readTurn(value: unknown): Said | undefined {
  if (has(value, 'status') && (has(value, 'runId') || has(value, 'result')))
    return readAs(Gateway, value, ofGateway);
  return has(value, 'payloads') || has(value, 'meta') ? readAs(Embedded, value, ofEmbedded) : undefined;
}

const has = (value: unknown, ...names: string[]): boolean =>
  typeof value === 'object' && value !== null && names.every((name) => name in value);

function readAs<S extends z.ZodType>(schema: S, value: unknown, read: (parsed: z.output<S>) => Said) {
  const parsed = schema.safeParse(value);
  return parsed.success ? read(parsed.data) : undefined;
}

const nothing: Said = {
  shape: 'refusal',
  status: '',
  failed: false,
  message: '',
  text: '',
  cutOff: false,
  media: [],
  usage: undefined,
  usd: undefined,
  model: undefined,
  provider: undefined,
  sessionId: undefined,
  runId: undefined,
  toolCalls: undefined,
  tools: [],
  delivery: undefined,
  fallback: undefined,
};

function ofExec({
  ok,
  status,
  final,
  payloads,
  toolSummary,
  error,
  ...figures
}: z.output<typeof Exec>): Said {
  return {
    ...nothing,
    ...figuresOf(figures, toolSummary),
    ...{ shape: 'exec', status },
    failed: !ok || error !== undefined,
    message: error?.message ?? '',
    text: final !== '' ? final : textOf(payloads),
    media: mediaOf(payloads),
  };
}

const ofRefusal = ({ error, runId, origin }: z.output<typeof Refusal>): Said => ({
  ...nothing,
  ...{ shape: 'refusal', failed: true, message: error.message },
  // Without an id of its own it still was a Gateway's.
  runId: runId ?? (origin === undefined ? undefined : `of ${origin}`),
});

function ofGateway({ runId, status, summary = '', result, deliveryStatus }: z.output<typeof Gateway>): Said {
  const turn = result === undefined ? { ...nothing, failed: true, message: summary } : ofTurn(result, runId);
  return {
    ...turn,
    ...{ shape: 'gateway', status, runId },
    message: turn.message || (status === 'ok' ? '' : summary),
    delivery: deliveryOf(deliveryStatus),
  };
}

const ofEmbedded = ({ deliveryStatus, ...turn }: z.output<typeof Embedded>): Said => ({
  ...ofTurn(turn, undefined),
  delivery: deliveryOf(deliveryStatus),
});

function ofTurn({ payloads, meta }: Turn, runId: string | undefined): Said {
  const { agentMeta, error, aborted, stopReason, toolSummary } = meta;
  const failing = payloads.find(({ isError }) => isError);
  const isFailed = aborted || error !== undefined || failing !== undefined;
  return {
    ...nothing,
    ...figuresOf(agentMeta, toolSummary),
    shape: 'embedded',
    failed: isFailed || stopReason === 'error' || stopReason === 'timeout',
    message: error?.message ?? failing?.text ?? (aborted ? 'it was aborted' : ''),
    cutOff: stopReason === 'length',
    text: textOf(payloads) || (meta.finalAssistantVisibleText ?? ''),
    media: mediaOf(payloads),
    fallback: fallbackOf(meta, [agentMeta.sessionId, runId]),
  };
}

/** A turn that openclaw ran again by itself says so in one of several ways, depending on the release. */
function fallbackOf(meta: Turn['meta'], ids: (string | undefined)[]): string | undefined {
  const { transport, fallbackFrom, fallbackReason, fallback } = meta;
  if (transport === 'embedded') return 'its transport was openclaw itself';
  if (fallbackFrom !== undefined) return `it fell back from ${fallbackFrom}`;
  if (fallbackReason !== undefined) return `it fell back: ${fallbackReason}`;
  if (fallback !== undefined) return 'it fell back';
  return ids.some((id) => id?.startsWith('gateway-fallback-') === true)
    ? 'its session is that of a fallback'
    : undefined;
}

/** What a person would read: no reasoning, no errors, nothing said on the way. */
const textOf = (payloads: Payloads): string =>
  payloads
    .filter(({ isError, isReasoning, isCommentary }) => !isError && !isReasoning && !isCommentary)
    .flatMap(({ text }) => (text === undefined || text.trim() === '' ? [] : [text.trimEnd()]))
    .join('\n');

const mediaOf = (payloads: Payloads): string[] => [
  ...new Set(
    payloads.flatMap(({ mediaUrl, mediaUrls }) => [
      ...(mediaUrl === undefined ? [] : [mediaUrl]),
      ...mediaUrls,
    ]),
  ),
];

const deliveryOf = (delivery: z.output<typeof Gateway>['deliveryStatus']): Said['delivery'] =>
  delivery && { status: delivery.status, reason: delivery.reason ?? '' };
