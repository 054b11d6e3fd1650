/** What a start of the embedded database is refused for. */
import { OpsError } from '../../supabase/client/errors.js';
import type { Place } from './place.js';
import type { ServerFile } from './server-file.js';

/** Says why no embedded database is to be had (`OPS_001`), and in `hint` what to do next. */
export function refusal(message: string, hint: string, cause?: unknown): OpsError {
  return new OpsError(
    'OPS_001',
    `embedded PostgreSQL: ${message}`,
    cause === undefined ? { hint } : { hint, cause },
  );
}

export function directoryHeld(place: Place, running: ServerFile | undefined): Error {
  const holder = running === undefined ? 'another server' : `process ${running.pid}`;
  return refusal(
    `${holder} holds ${place.dataDir} and does not answer`,
    `End it (kill -INT), then start again; what it says is in ${place.logFile}.`,
  );
}

export function passwordUnknown(place: Place, running: ServerFile): Error {
  return refusal(
    `process ${running.pid} serves ${place.dataDir}, and ${place.stateFile} with its password is gone`,
    'Stop the process that started it and start again: a new password is set then.',
  );
}

export function otherPort(port: number, running: ServerFile): Error {
  return refusal(
    `it runs already, on port ${running.port} instead of ${port}`,
    'Leave the port out to join it, or stop its owner first.',
  );
}

export function portTaken(port: number): Error {
  return refusal(`port ${port} is taken`, 'Leave the port out, choose a free one, or set DATABASE_URL.');
}

/** Node's `error.code`, or an empty string. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
