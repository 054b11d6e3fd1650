import { z } from 'zod';
import { OpsError } from '../../supabase/client/errors.js';
import { isKey } from '../../supabase/client/keys.js';
import { dataRoot } from '../database.js';
import type { Environment } from '../env.js';
import { findApiKey } from '../secrets.js';
import { signInUrl } from '../server.js';
import { startedAt } from '../started.js';
import { type Context, usageError } from './context.js';

export type SignInFlags = { url?: string };

const answerDeadlineMs = 15_000;
const Link = z.object({ path: z.string().startsWith('/#key=') });

/**
 * Whoever has the server's own OPS_API_KEY makes the link without asking it. With a key of the database in OPS_API_KEY
 * the server makes it, and the page then acts in that key's name.
 */
export async function signIn({ out, env }: Context, { url }: SignInFlags): Promise<undefined> {
  const settings = env();
  const key = await findApiKey(settings, dataRoot(settings));
  if (key === undefined) throw noKey();
  const origin =
    url === undefined ? ((await startedAt(dataRoot(settings))) ?? localAddress(settings)) : originOf(url);
  const own = isKey(key);
  const page = own ? await askForLink(origin, key) : signInUrl(origin, key);
  out.note(
    own
      ? 'This link works once, within ten minutes, in the name of your key:'
      : 'This link works once, within an hour, where the server has the same OPS_API_KEY:',
  );
  out.show({ page }, () => page);
}

/** Throws `OPS_014` when the server refuses the key, `OPS_018` when nothing like a server answers. */
async function askForLink(origin: string, key: string): Promise<string> {
  const response = await fetch(`${origin}/api/ops/session/link`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}` },
    redirect: 'error',
    signal: AbortSignal.timeout(answerDeadlineMs),
  }).catch((cause) => {
    throw noAnswer(origin, cause);
  });
  const link = Link.safeParse(await response.json().catch(() => undefined));
  if (link.success) return `${origin}${link.data.path}`;
  throw new OpsError(response.status < 500 ? 'OPS_014' : 'OPS_018', `${origin} answered ${response.status}`, {
    hint: 'The link takes a key of scope operator or viewer: `ops-loop keys list` shows yours.',
  });
}

const noAnswer = (origin: string, cause: unknown): OpsError =>
  new OpsError('OPS_018', `no answer from ${origin}`, {
    hint: 'Name the server with --url, and check that it runs.',
    cause,
  });

function originOf(address: string): string {
  const { protocol, origin } = URL.canParse(address) ? new URL(address) : { protocol: '', origin: '' };
  if (/^https?:$/.test(protocol)) return origin;
  throw usageError('--url is not an http(s) address', 'Try: --url https://ops.example.com');
}

/** Where `start` would listen with the same settings; a wildcard address is reached through loopback. */
function localAddress({ OPS_HOST, OPS_PORT }: Environment): string {
  if (OPS_PORT === 0)
    throw usageError(
      'OPS_PORT is 0 and no start runs here, so the address is not known',
      'Name it: --url http://127.0.0.1:<port>',
    );
  const host = ['0.0.0.0', '::'].includes(OPS_HOST) ? '127.0.0.1' : OPS_HOST;
  return `http://${host.includes(':') ? `[${host}]` : host}:${OPS_PORT}`;
}

const noKey = (): OpsError =>
  new OpsError('OPS_016', 'there is no OPS_API_KEY to make a link with', {
    hint: "Set OPS_API_KEY to the server's own, or run `npm start` here first: it makes one and keeps it.",
  });
