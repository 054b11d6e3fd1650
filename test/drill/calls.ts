/** Calls of clients, noted in the ledger before they are made and judged by how they end. */
import { setTimeout as pause } from 'node:timers/promises';
import { OpsError } from '../../supabase/client/errors.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { monotonicMs } from './effects.js';
import type { Kind, Ledger, Outcome } from './ledger.js';

/** Refused before anything was done, or undone: read-only, no room on the disk, too many connections, nobody listens. */
const refused = new Set(['25006', '53100', '53300', 'ECONNREFUSED']);

/**
 * `fail` only when it is certain that nothing was stored: refused by our own schemas before it was sent, or rolled
 * back by the server with an error of its own. Whatever ends with the connection is `unknown`.
 */
export function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof OpsError)) return 'unknown';
  const state = (error.cause as { code?: unknown } | undefined)?.code;
  if (typeof state === 'string' && refused.has(state)) return 'fail';
  if (error.code === 'OPS_001') return 'unknown';
  if (error.cause === undefined) return error.code === 'OPS_011' ? 'fail' : 'unknown';
  return typeof state === 'string' && /^[0-9A-Z]{5}$/.test(state) ? 'fail' : 'unknown';
}

export type Send = (port: OpsPort) => Promise<{ created: boolean }>;

/** Makes one call and notes how it ended. Never throws. */
export async function callOnce(
  ledger: Ledger,
  kind: Kind,
  key: string,
  port: OpsPort,
  send: Send,
): Promise<Outcome> {
  const end = ledger.invoke(kind, key, monotonicMs());
  try {
    const { created } = await send(port);
    end('ok', created);
    return 'ok';
  } catch (error) {
    const outcome = outcomeOf(error);
    end(outcome);
    return outcome;
  }
}

/** Makes a call again under the same key until it is answered or refused for good; false when the time is up. */
export async function callUntilAnswered(
  ledger: Ledger,
  kind: Kind,
  key: string,
  port: OpsPort,
  send: Send,
  deadlineMs: number,
): Promise<boolean> {
  const deadline = monotonicMs() + deadlineMs;
  while (monotonicMs() < deadline) {
    if ((await callOnce(ledger, kind, key, port, send)) === 'ok') return true;
    await pause(200);
  }
  return false;
}
