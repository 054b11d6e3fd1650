/**
 * A DATABASE_URL as the `pg` driver wants it, with libpq's meaning of `sslmode` (PostgreSQL manual, 32.19.3).
 * The driver's own reading differs, so the TLS members are taken out of the URL and said explicitly.
 *
 * Without `sslmode`: no TLS to a loopback host or a socket, `require` to any other host. Where the URL comes from is
 * the caller's affair.
 */
import type pg from 'pg';
import { OpsError } from './errors.js';

const sslModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
type SslMode = (typeof sslModes)[number];

export type Connection = {
  config: pg.PoolConfig;
  host: string;
  database: string;
  /** Host, port, database and user for people; never a password. */
  label: string;
  /** LISTEN works: not behind a pooler that hands a connection from transaction to transaction. */
  direct: boolean;
};

/** Read here, and unknown to the driver or read otherwise by it. */
const ownMembers = ['sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'ssl', 'uselibpqcompat', 'pgbouncer'];

/** Throws `OPS_016` for a URL that cannot be read, without repeating it: it may hold a password. */
export function parseConnection(databaseUrl: string): Connection {
  const url = readUrl(databaseUrl);
  const host = url.searchParams.get('host') ?? decodeURIComponent(url.hostname);
  const ssl = tlsOptions(url.searchParams, sslModeOf(url.searchParams, host), host);
  const database = decodeURIComponent(url.pathname.slice(1)) || 'the default database';
  const direct = !isTransactionPooler(url);
  const label = `${database} on ${place(host, url)}${account(url)}${ssl === false ? '' : ' with TLS'}`;
  for (const member of ownMembers) url.searchParams.delete(member);
  return {
    config: { connectionString: url.toString(), ssl },
    host: place(host, url),
    database,
    label,
    direct,
  };
}

/** Supabase's pooler hands out connections by transaction at port 6543; `pgbouncer=true` says so of any other. */
const isTransactionPooler = (url: URL): boolean =>
  url.port === '6543' || url.searchParams.get('pgbouncer') === 'true';

function readUrl(databaseUrl: string): URL {
  try {
    return new URL(databaseUrl);
  } catch {
    throw new OpsError('OPS_016', 'DATABASE_URL is not a URL', {
      hint: 'Write postgresql://user:password@host:5432/database, with special characters percent-encoded.',
    });
  }
}

const isSocket = (host: string): boolean => host === '' || host.startsWith('/');
const place = (host: string, url: URL): string =>
  isSocket(host) ? `socket ${host || 'of the default directory'}` : `${host}:${url.port || '5432'}`;
const account = (url: URL): string => (url.username === '' ? '' : ` as ${decodeURIComponent(url.username)}`);

/** `localhost`, 127.0.0.0/8 and ::1. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || /^127\.\d+\.\d+\.\d+$/.test(host) || host === '::1' || host === '[::1]';
}

function sslModeOf(members: URLSearchParams, host: string): SslMode {
  const said = members.get('sslmode');
  if (said === null) return isSocket(host) || isLoopback(host) ? 'disable' : 'require';
  const mode = sslModes.find((known) => known === said);
  if (mode !== undefined) return mode;
  throw new OpsError('OPS_016', 'DATABASE_URL has an unknown sslmode', {
    hint: `Use one of ${sslModes.join(', ')}.`,
  });
}

/**
 * `allow` and `prefer` try one way and fall back to the other, which the driver cannot do: `allow` goes without TLS
 * and `prefer` with it. `require` checks the server's certificate only when a root certificate is named.
 */
function tlsOptions(members: URLSearchParams, mode: SslMode, host: string): pg.PoolConfig['ssl'] {
  if (isSocket(host) || mode === 'disable' || mode === 'allow') return false;
  const root = members.get('sslrootcert');
  const checked = mode.startsWith('verify-') || (mode === 'require' && root !== null);
  return {
    rejectUnauthorized: checked,
    ...(root === null || root === 'system' ? {} : { ca: readPem('sslrootcert', root) }),
    ...pemOf(members, 'sslcert', 'cert'),
    ...pemOf(members, 'sslkey', 'key'),
    ...(checked && mode !== 'verify-full' && root !== 'system'
      ? { checkServerIdentity: () => undefined }
      : {}),
  };
}

function pemOf(members: URLSearchParams, member: string, option: 'cert' | 'key'): Record<string, string> {
  const file = members.get(member);
  return file === null ? {} : { [option]: readPem(member, file) };
}

/** `node:fs` is asked for here alone, so that it loads only when a URL names a file. */
function readPem(member: string, file: string): string {
  try {
    return process.getBuiltinModule('node:fs').readFileSync(file, 'utf8');
  } catch (cause) {
    throw new OpsError('OPS_016', `the file that ${member} of DATABASE_URL names cannot be read`, {
      hint: 'Name a readable PEM file.',
      cause,
    });
  }
}
