/**
 * A Supabase project, as SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY name it. There are two kinds of key that act as
 * `service_role` (supabase.com/docs, API keys): the legacy one, a JWT, and `sb_secret_…`, which is no token.
 */
import { OpsError } from './errors.js';

export type Project = {
  /** Without a trailing slash. */
  url: string;
  key: string;
  keyKind: 'jwt' | 'secret';
  host: string;
  /** For first lines: `database Supabase API on abcdefgh.supabase.co`. */
  database: string;
  /** For people; never a key. */
  label: string;
};

/** Throws `OPS_016` for a project that is not named whole, and for a key that is not `service_role`'s, without repeating it. */
export function parseProject(address: string | undefined, key: string | undefined): Project {
  if (address === undefined) throw missing('SUPABASE_SERVICE_ROLE_KEY is set, but not SUPABASE_URL');
  if (key === undefined) throw missing('SUPABASE_URL is set, but not SUPABASE_SERVICE_ROLE_KEY');
  const { host, href } = new URL(address);
  const database = 'Supabase API';
  return {
    url: href.replace(/\/+$/, ''),
    key,
    keyKind: kindOf(key),
    host,
    database,
    label: `${database} on ${host}`,
  };
}

function kindOf(key: string): Project['keyKind'] {
  if (/^sb_secret_[\w-]+$/.test(key)) return 'secret';
  const role = key.startsWith('sb_publishable_') ? 'anon' : roleOf(key);
  if (role === 'service_role') return 'jwt';
  const what = role === undefined ? 'is no key of a Supabase project' : `is a key of ${role}`;
  throw new OpsError('OPS_016', `SUPABASE_SERVICE_ROLE_KEY ${what}`, {
    hint: 'Take a secret key (sb_secret_…) or the legacy service_role key (eyJ…) from the API keys of the project.',
  });
}

/** The role that a JWT says it is for. Whether the token is genuine is the server's to judge. */
function roleOf(key: string): string | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(key.split('.')[1] ?? '', 'base64url').toString());
    const role = typeof claims === 'object' && claims !== null && 'role' in claims ? claims.role : undefined;
    return typeof role === 'string' && /^\w{1,63}$/.test(role) ? role : undefined;
  } catch {
    return undefined;
  }
}

const missing = (message: string): OpsError =>
  new OpsError('OPS_016', message, {
    hint: 'Set both, from the API settings of the project, or DATABASE_URL to its connection string.',
  });
