/**
 * Server settings, written to `postgresql.conf` at every start. They suit a laptop or a small server with many short
 * writes; durability is PostgreSQL's default, named here because it is a promise.
 */
const defaults: Record<string, string> = {
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  listen_addresses: '127.0.0.1',
  // TCP only: a socket file would bring path lengths and directory modes into play.
  unix_socket_directories: '',
  password_encryption: 'scram-sha-256',
  max_connections: '100',
  shared_buffers: '256MB',
  effective_cache_size: '1GB',
  work_mem: '16MB',
  maintenance_work_mem: '128MB',
  max_wal_size: '2GB',
  min_wal_size: '256MB',
  checkpoint_timeout: '15min',
  random_page_cost: '1.1',
  // The statements are short and many: compiling them costs more than it saves.
  jit: 'off',
  // Queue tables turn over quickly.
  autovacuum_naptime: '15s',
  autovacuum_vacuum_scale_factor: '0.05',
  autovacuum_vacuum_cost_limit: '1000',
  timezone: 'UTC',
  log_timezone: 'UTC',
  lc_messages: 'C',
  log_checkpoints: 'off',
  // Rows and statements can hold what operators want kept out of files.
  log_error_verbosity: 'terse',
  log_min_error_statement: 'panic',
};

export const configurationMark =
  '# Written by Ops-Loop at every start; use ALTER SYSTEM for settings of your own.';

/** The text of `postgresql.conf`: the defaults with the caller's settings over them. */
export function renderSettings(settings: Record<string, string>): string {
  const lines = Object.entries({ ...defaults, ...settings }).map(
    ([name, value]) => `${name} = ${quote(value)}`,
  );
  return `${[configurationMark, ...lines].join('\n')}\n`;
}

/** Password over loopback, nothing else: no sockets, no replication, no other address. */
export const hostRules = `# TYPE DATABASE USER ADDRESS METHOD
host all all 127.0.0.1/32 scram-sha-256
`;

function quote(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
