/** What can go wrong with a call to a provider, and what each fault means for it, for the others and for the step. */
import {
  APIConnectionError,
  APIConnectionTimeoutError,
  APIError,
  APIUserAbortError,
} from 'openai/core/error';
import type { Usage } from './prices.js';
import { visible } from './untrusted.js';

/**
 * - `key`, `credit`: a person has to act (401, 403; 402, or 429 with code insufficient_quota).
 * - `limited`: too many calls (429). `server`: 5xx. `timeout`, `connection`: no answer, or one that broke off.
 * - `answer`: an answer of another form than the API's. `size`: an answer beyond its bound, such as an endless one.
 * - `request`: it refused what was asked (400, 404, 413, 422 and the like): an unknown model, a parameter, the length.
 * - `open`: its breaker lets no call through. `model`: no model is named for it.
 */
const faultKinds = [
  'key',
  'credit',
  'limited',
  'server',
  'timeout',
  'connection',
  'answer',
  'size',
  'request',
  'open',
  'model',
] as const;
export type FaultKind = (typeof faultKinds)[number];

type FaultOptions = {
  status?: number;
  retryAfterMs?: number | undefined;
  usage?: Usage | undefined;
  cause?: unknown;
};

export class Fault extends Error {
  readonly kind: FaultKind;
  readonly status: number | undefined;
  /** When it may be asked again, if it said so or its breaker did. */
  readonly retryAfterMs: number | undefined;
  /** What it cost, when that is known in spite of all. */
  readonly usage: Usage | undefined;

  constructor(kind: FaultKind, message: string, options: FaultOptions = {}) {
    super(message, { cause: options.cause });
    this.name = 'Fault';
    this.kind = kind;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
    this.usage = options.usage;
  }
}

/** A model may have worked, and be charged for, although we have no answer and no figures. */
const maySpend: ReadonlySet<FaultKind> = new Set(['timeout', 'connection', 'answer', 'size']);
export const mayHaveSpent = ({ kind }: Fault): boolean => maySpend.has(kind);

/** The provider itself is ill: so many in a row open its breaker. */
const illness: ReadonlySet<FaultKind> = new Set(['server', 'timeout', 'connection', 'answer', 'size']);
export const isIll = (error: unknown): boolean => error instanceof Fault && illness.has(error.kind);

/** An answer was longer than we read. Thrown by the reader of the body, so it comes through the library as it is. */
export class AnswerTooLarge extends Error {}

/** Turns what a call threw into a fault. The caller's own abort is not one and passes through. */
export function toFault(error: unknown, timedOut: boolean): Fault {
  if (error instanceof Fault) return error;
  if (wasTooLarge(error)) return new Fault('size', 'answered more than is read', { cause: error });
  if (timedOut || error instanceof APIConnectionTimeoutError)
    return new Fault('timeout', 'did not answer in time', { cause: error });
  if (error instanceof APIConnectionError || error instanceof APIUserAbortError)
    return new Fault('connection', 'cannot be reached', { cause: error });
  if (error instanceof APIError && error.status !== undefined) return ofStatus(error, error.status);
  if (error instanceof SyntaxError) return new Fault('answer', 'answered what is not JSON', { cause: error });
  return new Fault('connection', 'broke off its answer', { cause: error });
}

const wasTooLarge = (error: unknown): boolean =>
  error instanceof AnswerTooLarge || (error instanceof Error && error.cause instanceof AnswerTooLarge);

/** Which fault an HTTP status is. Texts of a refused key are left out: they may repeat a part of it. */
function ofStatus(error: APIError, status: number): Fault {
  const fault = (kind: FaultKind, message: string, retryAfterMs?: number) =>
    new Fault(kind, message, { status, retryAfterMs });
  if (status === 401 || status === 403) return fault('key', `refuses the key (${status})`);
  if (status === 402 || error.code === 'insufficient_quota')
    return fault('credit', `has no credit left (${status})`);
  if (status === 429) return fault('limited', 'limits the rate (429)', retryAfter(error));
  if (status === 408) return fault('timeout', 'did not answer in time (408)');
  if (status >= 500) return fault('server', `failed (${status})`, retryAfter(error));
  return fault('request', `refused the request (${status}): ${said(error)}`);
}

/** The longest text of a provider that is repeated in an error. */
const saidChars = 200;
const said = ({ error }: APIError): string => {
  const text = error !== null && typeof error === 'object' && 'message' in error ? String(error.message) : '';
  return text === '' ? 'it gave no reason' : visible(text).replace(/\s+/g, ' ').slice(0, saidChars);
};

/** The header in milliseconds: seconds or a date (RFC 9110, 10.2.3), or the `retry-after-ms` that some send. */
function retryAfter({ headers }: APIError): number | undefined {
  const exact = Number(headers?.get('retry-after-ms') ?? Number.NaN);
  if (Number.isFinite(exact)) return Math.max(0, exact);
  const text = headers?.get('retry-after')?.trim() ?? '';
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1_000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}
