/** DATABASE_URL as the driver wants it: TLS to any host but loopback unless the URL says otherwise. */
import type pg from 'pg';

const loopback = /^(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/;

/** `sslmode` as libpq reads it: `require` encrypts, `verify-ca` and `verify-full` also check the certificate. */
export function connectionOf(databaseUrl: string): pg.PoolConfig {
  const url = new URL(databaseUrl);
  const mode =
    url.searchParams.get('sslmode') ??
    (url.hostname === '' || loopback.test(url.hostname) ? 'disable' : 'require');
  url.searchParams.delete('sslmode');
  const ssl =
    mode === 'disable' || mode === 'allow' ? false : { rejectUnauthorized: mode.startsWith('verify-') };
  return { connectionString: url.toString(), ssl };
}
