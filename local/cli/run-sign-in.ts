import { OpsError } from '../../supabase/client/errors.js';
import { dataRoot } from '../database.js';
import type { Environment } from '../env.js';
import { findApiKey } from '../secrets.js';
import { signInUrl } from '../server.js';
import { type Context, usageError } from './context.js';

export type SignInFlags = { url?: string };

/** Asks no server: whoever has the key can make the link. */
export async function signIn({ out, env }: Context, { url }: SignInFlags): Promise<undefined> {
  const settings = env();
  const key = await findApiKey(settings, dataRoot(settings));
  if (key === undefined) throw noKey();
  const page = signInUrl(url === undefined ? localAddress(settings) : originOf(url), key);
  out.note('This link works once, within an hour, where the server has the same OPS_API_KEY:');
  out.show({ page }, () => page);
}

function originOf(address: string): string {
  const { protocol, origin } = URL.canParse(address) ? new URL(address) : { protocol: '', origin: '' };
  if (/^https?:$/.test(protocol)) return origin;
  throw usageError('--url is not an http(s) address', 'Try: --url https://ops.example.com');
}

/** Where `start` listens with the same settings; a wildcard address is reached through loopback. */
function localAddress({ OPS_HOST, OPS_PORT }: Environment): string {
  if (OPS_PORT === 0)
    throw usageError('OPS_PORT is 0, so the address is not known', 'Name it: --url http://127.0.0.1:<port>');
  const host = ['0.0.0.0', '::'].includes(OPS_HOST) ? '127.0.0.1' : OPS_HOST;
  return `http://${host.includes(':') ? `[${host}]` : host}:${OPS_PORT}`;
}

const noKey = (): OpsError =>
  new OpsError('OPS_016', 'there is no OPS_API_KEY to make a link with', {
    hint: "Set OPS_API_KEY to the server's own, or run `npm start` here first: it makes one and keeps it.",
  });
