/** One file run as one message, and what its error means to whoever runs `migrate`. */
import { type Client, DatabaseError } from 'pg';
import { fromDatabase, OpsError } from '../../supabase/client/errors.js';

/** Runs a file's statements as one message. A file that ends the transaction itself would escape the lock. */
export async function runFile(client: Client, file: string, sql: string): Promise<void> {
  const before = await transactionId(client);
  await client.query(sql).catch((cause: unknown) => {
    throw cause instanceof DatabaseError ? failed(file, sql, cause) : fromDatabase(cause);
  });
  if ((await transactionId(client)) !== before)
    throw new OpsError('OPS_013', `the migration ${file} ends its own transaction`, {
      hint: 'Take begin and commit out of the file.',
    });
}

async function transactionId(client: Client): Promise<unknown> {
  const { rows } = await client.query('select pg_catalog.pg_current_xact_id()::text as id');
  return rows[0]?.id;
}

function failed(file: string, sql: string, cause: DatabaseError): OpsError {
  // The position counts characters, not UTF-16 units.
  const before = cause.position === undefined ? undefined : Array.from(sql).slice(0, Number(cause.position));
  const line = before?.filter((character) => character === '\n').length;
  const at = line === undefined ? '' : ` at line ${line + 1}`;
  return new OpsError('OPS_013', `${file} failed${at}: ${cause.message}`, {
    hint:
      cause.hint ??
      hints[cause.code ?? ''] ??
      'The file was rolled back. Mend the cause, then run migrate again.',
    detail: { file, line: line === undefined ? null : line + 1, sqlstate: cause.code, where: cause.where },
    cause,
  });
}

/** By SQLSTATE: lock not available, query cancelled, insufficient privilege. */
const hints: Record<string, string> = {
  '55P03':
    'Another session holds a lock on the table. Stop the workers or end that session, then run migrate again.',
  '57014': 'A statement ran out of time. Run migrate again with a longer statement timeout.',
  '42501': 'Connect as the role that owns the database; worker and API roles cannot migrate.',
};
