/** Calls of the smoke test: one request, its status and its JSON. */
import { OpsError } from '../../supabase/client/errors.js';

export type Answer = { status: number; body: Record<string, unknown> };
export type Ask = (
  method: 'GET' | 'POST',
  path: string,
  options?: { token?: string | undefined; body?: unknown },
) => Promise<Answer>;

/** Longer than the time budget of a beat. */
const answerMs = 30_000;

/** Asks the deployment at an address. Throws `OPS_018` when nothing answers there; redirects are not followed. */
export const askAt =
  (address: URL): Ask =>
  async (method, path, { token, body } = {}) => {
    const response = await fetch(new URL(path, address), {
      method,
      redirect: 'manual',
      signal: AbortSignal.timeout(answerMs),
      headers: {
        ...(token !== undefined && { Authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }).catch((cause: unknown) => {
      throw new OpsError('OPS_018', `no answer from ${address.origin}`, { cause });
    });
    const json: unknown = await response.json().catch(() => undefined);
    return { status: response.status, body: isDocument(json) ? json : {} };
  };

const isDocument = (json: unknown): json is Record<string, unknown> =>
  typeof json === 'object' && json !== null && !Array.isArray(json);

/** What a problem document says, or the status alone. */
export function said({ status, body }: Answer): string {
  const { detail, hint } = body;
  return [`answered ${status}`, detail, hint]
    .filter((part) => part !== undefined && part !== null)
    .join('; ');
}
