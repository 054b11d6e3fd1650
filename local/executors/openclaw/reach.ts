/** One request to the operator's own Gateway, wherever it is: its address comes from the environment, not from a step. */
import { type Exchanged, exchange } from '../http/exchange.js';
import { resolveName } from '../http/guard.js';

export type Request = {
  gatewayUrl: string;
  path: string;
  token: string | undefined;
  headers?: Record<string, string>;
  /** Posted when given. */
  body?: unknown;
  keepBytes: number;
  signal: AbortSignal;
};

/** No redirect is followed: the token is full operator power at the Gateway, and would go along. Never throws. */
export async function reach({
  gatewayUrl,
  path,
  token,
  headers,
  body,
  ...bounds
}: Request): Promise<Exchanged> {
  const url = new URL(path, gatewayUrl);
  const all = {
    ...headers,
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
    ...(body !== undefined && { 'content-type': 'application/json' }),
  };
  const wire =
    body === undefined
      ? ({ method: 'GET', url, headers: all } as const)
      : ({ method: 'POST', url, headers: all, body: JSON.stringify(body) } as const);
  try {
    const addresses = await resolveName(url.hostname.replace(/^\[(.*)\]$/, '$1'));
    return await exchange(wire, addresses, bounds);
  } catch (cause) {
    return { ok: false, sent: false, cause };
  }
}
