/**
 * Every coded error of Ops-Loop in one table. SQL raises the same codes as SQLSTATE `OP001` … with message,
 * detail (JSON) and hint; `fromDatabase` maps them here and back is `sqlState`.
 */
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

/** `OPS_008` → `OP008`, the SQLSTATE that the engine raises. */
export const sqlState = (code: OpsCode): string => `OP${code.slice(4)}`;

/**
 * SQLSTATEs after which the transaction is known to be rolled back, so the same call may be made again at once:
 * serialization failure, deadlock, lock not available (PostgreSQL manual, appendix A).
 */
export const rolledBackStates = new Set(['40001', '40P01', '55P03']);

/**
 * SQLSTATEs and errnos that mean "the database is away": connection exceptions (class 08), shutdown and start-up
 * (57P01-57P03), no room left (53100 disk, 53200 memory, 53300 connections), a read-only server, I/O errors, and what Node's sockets report. The outcome of a call that ended
 * so is unknown; only calls that are safe to repeat are repeated.
 */
export const databaseAwayStates = new Set([
  '08000',
  '08001',
  '08003',
  '08004',
  '08006',
  '08P01',
  '57P01',
  '57P02',
  '57P03',
  '53100',
  '53200',
  '53300',
  '58030',
  '25006',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/** What to do when the server answers, but cannot work. */
const awayHints: Record<string, string> = {
  '53100': 'Make room on the disk of the database; work goes on by itself.',
  '53300': 'Raise max_connections, or put fewer workers or a pooler in front; work goes on by itself.',
  '25006':
    'It is a standby, or default_transaction_read_only is on; work goes on by itself once it takes writes.',
};

/** SQLSTATEs of values that the database cannot take: bad text, bad escapes, bad encoding, numbers out of range. */
const malformedStates = new Set(['22P02', '22P05', '22003', '22021']);

type DatabaseErrorLike = { code?: unknown; message?: unknown; detail?: unknown; hint?: unknown };

/** Turns whatever a driver threw into an `OpsError`; one that already is passes through. */
export function fromDatabase(error: unknown): OpsError {
  if (error instanceof OpsError) return error;
  const { code, message, detail, hint } = (error ?? {}) as DatabaseErrorLike;
  const text = typeof message === 'string' && message !== '' ? message : 'the database gave no message';
  const hintText = typeof hint === 'string' ? hint : undefined;
  if (typeof code === 'string' && /^OP\d{3}$/.test(code)) {
    const own = `OPS_${code.slice(2)}`;
    if (own in errorTable)
      return new OpsError(own as OpsCode, text, {
        hint: hintText,
        detail: parseDetail(detail),
        cause: error,
      });
  }
  if (isDatabaseAway(error))
    return new OpsError('OPS_001', `database unreachable: ${text}`, {
      hint:
        awayHints[String(code)] ??
        'Check that the server runs and that DATABASE_URL names it; work goes on by itself once it answers.',
      cause: error,
    });
  if (code === '42883' || code === '42P01' || code === '3F000')
    return new OpsError('OPS_013', `the schema is not the one this code expects: ${text}`, {
      hint: 'Run `ops-loop migrate`.',
      cause: error,
    });
  if (typeof code === 'string' && malformedStates.has(code))
    return new OpsError('OPS_011', text, {
      detail: { sqlstate: code },
      hint: hintText ?? 'Correct the value and call again.',
      cause: error,
    });
  if (code === '42501' || code === '28P01' || code === '28000')
    return new OpsError('OPS_001', `the database refused: ${text}`, {
      hint: 'Check the role in DATABASE_URL; workers log in as ops_worker, migrations need the owner.',
      cause: error,
    });
  return new OpsError('OPS_018', text, { detail: { sqlstate: code }, hint: hintText, cause: error });
}

export function isDatabaseAway(error: unknown): boolean {
  const code = (error as DatabaseErrorLike | null)?.code;
  if (typeof code === 'string' && (databaseAwayStates.has(code) || code === 'OPS_001')) return true;
  const message = (error as DatabaseErrorLike | null)?.message;
  return (
    typeof message === 'string' &&
    /connection terminated|client has encountered a connection error|timeout exceeded when trying to connect/i.test(
      message,
    )
  );
}

export function wasRolledBack(error: unknown): boolean {
  const code = (error as DatabaseErrorLike | null)?.code;
  return typeof code === 'string' && rolledBackStates.has(code);
}

function parseDetail(detail: unknown): unknown {
  if (typeof detail !== 'string') return detail;
  try {
    return JSON.parse(detail);
  } catch {
    return detail;
  }
}
