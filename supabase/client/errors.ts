/**
 * Every coded error of Ops-Loop in one table. SQL raises the same codes as SQLSTATE `OP001` … with message,
 * detail (JSON) and hint; `fromDatabase` maps them here.
 */
import {
  databaseAwayStates,
  malformedStates,
  missingStates,
  refusedStates,
  rolledBackStates,
} from './sqlstates.js';

export const errorTable = {
  OPS_001: { meaning: 'database unreachable or refused', status: 503, retryable: true },
  OPS_002: { meaning: 'policy missing', status: 409, retryable: false },
  OPS_003: { meaning: 'proposal stopped by a gate', status: 409, retryable: false },
  OPS_004: { meaning: 'proposal template invalid', status: 422, retryable: false },
  OPS_005: { meaning: 'executor not found', status: 422, retryable: false },
  OPS_006: { meaning: 'step claim or lease conflict (lost lease)', status: 409, retryable: false },
  OPS_007: { meaning: 'step execution failed', status: 500, retryable: false },
  OPS_008: { meaning: 'reaction pattern or policy invalid', status: 422, retryable: false },
  OPS_009: { meaning: 'auto-approval refused', status: 409, retryable: false },
  OPS_010: { meaning: 'stale-step recovery over its limit', status: 500, retryable: true },
  OPS_011: { meaning: 'input invalid', status: 400, retryable: false },
  OPS_012: { meaning: 'not found', status: 404, retryable: false },
  OPS_013: { meaning: 'schema or migration mismatch', status: 503, retryable: false },
  OPS_014: { meaning: 'not authorised', status: 401, retryable: false },
  OPS_015: { meaning: 'illegal transition', status: 409, retryable: false },
  OPS_016: { meaning: 'configuration invalid', status: 500, retryable: false },
  OPS_017: { meaning: 'body too large or of the wrong type', status: 413, retryable: false },
  OPS_018: { meaning: 'internal error', status: 500, retryable: false },
  OPS_019: { meaning: 'too many requests', status: 429, retryable: true },
} as const satisfies Record<string, { meaning: string; status: number; retryable: boolean }>;

export type OpsCode = keyof typeof errorTable;

export type OpsErrorOptions = {
  /** What to do next, in one sentence. */
  hint?: string | undefined;
  /** Machine-readable context; never a secret. */
  detail?: unknown;
  cause?: unknown;
};

/** The one error type that leaves our code. Control flow tests `code`, never the text. */
export class OpsError extends Error {
  readonly code: OpsCode;
  readonly hint: string | undefined;
  readonly detail: unknown;

  constructor(code: OpsCode, message: string, options: OpsErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'OpsError';
    this.code = code;
    this.hint = options.hint;
    this.detail = options.detail;
  }

  get status(): number {
    return errorTable[this.code].status;
  }

  get retryable(): boolean {
    return errorTable[this.code].retryable;
  }

  toJSON(): { code: OpsCode; message: string; hint: string | undefined; detail: unknown } {
    return { code: this.code, message: this.message, hint: this.hint, detail: this.detail };
  }
}

type DatabaseErrorLike = { code?: unknown; message?: unknown; detail?: unknown; hint?: unknown };

/** Turns whatever a driver threw into an `OpsError`; one that already is passes through. */
export function fromDatabase(error: unknown): OpsError {
  if (error instanceof OpsError) return error;
  const { code, message, detail, hint } = (error ?? {}) as DatabaseErrorLike;
  const text = typeof message === 'string' && message !== '' ? message : 'the database gave no message';
  const given = typeof hint === 'string' ? hint : undefined;
  const own = ownCode(stateOf(error));
  if (own !== undefined)
    return new OpsError(own, text, { hint: given, detail: parseDetail(detail), cause: error });
  const server = serverFault(error, text);
  if (server !== undefined)
    return new OpsError(server.code, server.message, { hint: server.hint, cause: error });
  const malformed = malformedStates.has(stateOf(error));
  return new OpsError(malformed ? 'OPS_011' : 'OPS_018', text, {
    hint: given ?? (malformed ? 'Correct the value and call again.' : undefined),
    detail: { sqlstate: code },
    cause: error,
  });
}

/** Empty when there is none. */
function stateOf(error: unknown): string {
  const code = (error as DatabaseErrorLike | null)?.code;
  return typeof code === 'string' ? code : '';
}

/** `OP008`, the SQLSTATE that the engine raises → `OPS_008`. */
function ownCode(state: string): OpsCode | undefined {
  const code = `OPS_${state.slice(2)}`;
  return /^OP\d{3}$/.test(state) && code in errorTable ? (code as OpsCode) : undefined;
}

/** What to do when the server answers, but cannot work. */
const awayHints: Record<string, string> = {
  '53100': 'Make room on the disk of the database; work goes on by itself.',
  '53300': 'Raise max_connections, or put fewer workers or a pooler in front; work goes on by itself.',
  '25006':
    'It is a standby, or default_transaction_read_only is on; work goes on by itself once it takes writes.',
};

/** What the server's own words leave open: what it means here, and what to do. */
function serverFault(
  error: unknown,
  text: string,
): { code: OpsCode; message: string; hint: string } | undefined {
  const state = stateOf(error);
  if (isDatabaseAway(error))
    return {
      code: 'OPS_001',
      message: `database unreachable: ${text}`,
      hint:
        awayHints[state] ??
        'Check that the server runs and that DATABASE_URL names it; work goes on by itself once it answers.',
    };
  if (missingStates.has(state))
    return {
      code: 'OPS_013',
      message: `the schema is not the one this code expects: ${text}`,
      hint: 'Run `ops-loop migrate`.',
    };
  if (refusedStates.has(state))
    return {
      code: 'OPS_001',
      message: `the database refused: ${text}`,
      hint: 'Check the role in DATABASE_URL; workers log in as ops_worker, migrations need the owner.',
    };
  return undefined;
}

export function isDatabaseAway(error: unknown): boolean {
  const state = stateOf(error);
  if (databaseAwayStates.has(state) || state === 'OPS_001') return true;
  const message = (error as DatabaseErrorLike | null)?.message;
  return (
    typeof message === 'string' &&
    /connection terminated|client has encountered a connection error|timeout exceeded when trying to connect/i.test(
      message,
    )
  );
}

export const wasRolledBack = (error: unknown): boolean => rolledBackStates.has(stateOf(error));

function parseDetail(detail: unknown): unknown {
  if (typeof detail !== 'string') return detail;
  try {
    return JSON.parse(detail);
  } catch {
    return detail;
  }
}
