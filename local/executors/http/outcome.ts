/**
 * What the end of a call means for its step. Pure.
 *
 * | what happened | outcome |
 * |---|---|
 * | not resolved, refused or cut off before the connection stood | retryable: nothing was sent |
 * | broken off or out of time after that | retryable if the call may be repeated, else unknown |
 * | 429; 503 or another failure with Retry-After | rate_limited |
 * | 408, 425, 503 | retryable: the server says that it did not act (RFC 9110, RFC 8470) |
 * | other 5xx | retryable if the call may be repeated, else unknown; 501 and 505 permanent |
 * | any other status that is not expected | permanent |
 *
 * A call may be repeated when its method is idempotent (RFC 9110, 9.2.2), or the step says that its receiver is.
 */
import { OpsError } from '../../../supabase/client/errors.js';
import { StepError } from '../contract.js';
import type { Answer } from './exchange.js';

/** Methods that mean the same said twice. */
export const isIdempotent = (method: string): boolean =>
  ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'].includes(method);

/** Characters of an unexpected answer that go into the error. */
const excerptChars = 300;
/** The longest wait that is taken from a server; the engine's own bound is the same. */
const maxWaitSeconds = 604_800;

/** The call ended without an answer. */
export function brokenOff(
  place: string,
  { sent, cause }: { sent: boolean; cause: unknown },
  mayRepeat: boolean,
): StepError {
  if (!sent)
    return new StepError(`${place} was not reached: ${reasonOf(cause)}; nothing was sent`, {
      errorClass: 'NotSent',
    });
  const message = `${place} gave no answer: ${reasonOf(cause)}`;
  if (mayRepeat) return new StepError(message, { errorClass: 'BrokenOff' });
  return new StepError(`${message}; nobody knows whether it took effect`, {
    outcome: 'unknown',
    errorClass: 'BrokenOff',
    hint: 'Look at the receiver, then requeue or discard the dead letter.',
  });
}

/** Our own words, or the code of what a driver threw; its text may repeat the URL. */
function reasonOf(cause: unknown): string {
  if (cause instanceof OpsError) return cause.message;
  const { name, code, message } = (cause ?? {}) as { name?: unknown; code?: unknown; message?: unknown };
  if (name === 'TimeoutError') return 'it took longer than its timeout';
  return String(code ?? message ?? name);
}

/** An answer that is not what the step asked for. `wait` is what the server asks for, in seconds. */
export function unexpected(
  place: string,
  answer: Answer,
  mayRepeat: boolean,
  wait = retryAfter(answer),
): StepError {
  const { status } = answer;
  const errorClass = `HTTP ${status}`;
  const message = `${place} answered ${status}${excerpt(answer.text)}`;
  if (status === 429 || (status >= 500 && wait !== undefined))
    return new StepError(message, { outcome: 'rate_limited', retryAfterSeconds: wait, errorClass });
  if ([408, 425, 503].includes(status)) return new StepError(message, { errorClass });
  if (status < 500 || status === 501 || status === 505)
    return new StepError(message, { outcome: 'permanent', errorClass });
  if (mayRepeat) return new StepError(message, { errorClass });
  return new StepError(`${message}; nobody knows whether it took effect`, { outcome: 'unknown', errorClass });
}

function excerpt(text: string): string {
  const line = text
    .slice(0, excerptChars * 4)
    .replaceAll(/[\p{C}\s]+/gu, ' ')
    .trim();
  if (line === '') return '';
  return `: ${line.slice(0, excerptChars)}${line.length > excerptChars ? '…' : ''}`;
}

/** Seconds that Retry-After asks for: a number, or a date held against the answer's own (RFC 9110, 10.2.3). */
export function retryAfter({ headers }: Pick<Answer, 'headers'>): number | undefined {
  const value = headers['retry-after']?.trim() ?? '';
  if (/^\d+(\.\d+)?$/.test(value)) return Math.min(Number(value), maxWaitSeconds);
  // Date.parse takes almost anything for a date, a negative number too.
  if (!/^[A-Z][a-z]{2,8}, .+ GMT$/.test(value)) return undefined;
  const seconds = (Date.parse(value) - (Date.parse(headers.date ?? '') || Date.now())) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), maxWaitSeconds) : undefined;
}
