import { OpsError } from '../../supabase/client/errors.js';

/** Says why no embedded database is to be had (`OPS_001`), and in `hint` what to do next. */
export function refusal(message: string, hint: string, cause?: unknown): OpsError {
  return new OpsError(
    'OPS_001',
    `embedded PostgreSQL: ${message}`,
    cause === undefined ? { hint } : { hint, cause },
  );
}

/** Node's `error.code`, or an empty string. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
