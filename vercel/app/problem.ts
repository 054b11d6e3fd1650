/**
 * From an error to an answer, in one place (RFC 9457, `application/problem+json`). What a caller may read is our own
 * wording: texts of drivers and of the database's connection stay in the log, where the request id finds them.
 */
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import {
  errorTable,
  fromDatabase,
  type OpsCode,
  OpsError,
  type OpsErrorOptions,
} from '../../supabase/client/errors.js';
import type { AppContext } from './deps.js';

/** Seconds after which a sender may try again while the database is away. */
export const retryAfterSeconds = 5;

type RefusalOptions = OpsErrorOptions & { status?: number; headers?: Record<string, string> };

/** An answer whose HTTP status or headers differ from what the code alone says. */
export class Refusal extends OpsError {
  readonly #status: number | undefined;
  readonly headers: Record<string, string>;

  constructor(code: OpsCode, message: string, { status, headers = {}, ...options }: RefusalOptions = {}) {
    super(code, message, options);
    this.#status = status;
    this.headers = headers;
  }

  override get status(): number {
    return this.#status ?? super.status;
  }
}

/** Codes whose text comes from outside (driver, server, a bug of ours) and is therefore not repeated. */
const spokenFor: Partial<Record<OpsCode, { detail: string; hint: string }>> = {
  OPS_001: {
    detail: 'The database does not answer, so nothing was accepted.',
    hint: 'Send the same request again after the time in Retry-After.',
  },
  OPS_013: {
    detail: 'The database schema is not the one this version expects.',
    hint: 'Run `ops-loop migrate`, then try again.',
  },
  OPS_018: {
    detail: 'Something failed on the server; the request id finds it in the log.',
    hint: 'Try again; if it stays, look the request id up in the log.',
  },
};

/** The text of a failure as a caller may read it; a code that is not in our table speaks for no one. */
export const publicText = (code: string, text: string): string =>
  code in errorTable ? (spokenFor[code as OpsCode]?.detail ?? text) : 'This phase failed; the log says more.';

export type Problem = {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  code: OpsCode;
  hint: string | undefined;
  request_id: string;
  /** One entry per wrong member of the input, by JSON pointer. */
  errors?: { pointer: string; detail: string }[];
  /** What the engine said beside its message, as it raised it. */
  context?: unknown;
};

/** What a log may keep of an error: where it was thrown, and what a driver says beside its message, may quote anything. */
export function traceless(thrown: unknown): { name: string; code?: string; message: string } {
  if (!(thrown instanceof Error)) return { name: typeof thrown, message: String(thrown) };
  const { name, message } = thrown;
  const code: unknown = 'code' in thrown ? thrown.code : undefined;
  return { name, ...(typeof code === 'string' ? { code } : {}), message };
}

/** Pure: the body of the answer to `error`. */
export function describe(error: OpsError, instance: string, requestId: string): Problem {
  const { code, status } = error;
  const { detail, hint } = spokenFor[code] ?? { detail: error.message, hint: error.hint };
  return {
    type: `urn:ops-loop:error:${code}`,
    title: errorTable[code].meaning,
    status,
    detail,
    instance,
    code,
    hint,
    request_id: requestId,
    ...(status < 500 ? contextOf(error.detail) : {}),
  };
}

type Issue = { path: PropertyKey[]; message: string };
const isIssueList = (detail: unknown): detail is Issue[] =>
  Array.isArray(detail) && detail.every((d) => Array.isArray(d?.path) && typeof d?.message === 'string');

function contextOf(detail: unknown): Pick<Problem, 'errors' | 'context'> {
  if (detail === undefined || detail === null) return {};
  if (!isIssueList(detail)) return { context: detail };
  return { errors: detail.map(({ path, message }) => ({ pointer: pointer(path), detail: message })) };
}

/** RFC 6901. */
const pointer = (path: PropertyKey[]): string =>
  path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');

/** The answer to whatever a handler threw; `members` come beside the problem's own, as RFC 9457 allows. */
export function answerError(thrown: unknown, c: AppContext, members: object = {}): Response {
  const error = fromDatabase(thrown);
  const problem = describe(error, c.req.path, c.get('requestId'));
  return c.json({ ...members, ...problem }, problem.status as ContentfulStatusCode, {
    ...(error instanceof Refusal ? error.headers : {}),
    ...(problem.status === 503 ? { 'Retry-After': String(retryAfterSeconds) } : {}),
    'Content-Type': 'application/problem+json',
  });
}
