import { Client, type ClientConfig } from 'pg';
import { fromDatabase, OpsError } from '../../supabase/client/errors.js';

/** Runs the work in one transaction on a connection of its own; ends both, whichever way. Throws `OpsError`. */
export async function inTransaction<T>(
  config: ClientConfig,
  begin: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = new Client({ connectionTimeoutMillis: 10_000, ...config });
  // A connection that breaks between two statements is told by the next one.
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query(begin);
    const result = await work(client);
    await client.query('commit');
    return result;
  } catch (error) {
    throw fromDatabase(error);
  } finally {
    // What is not committed goes with the connection.
    await client.end().catch(() => {});
  }
}

/** Row-level security shows others an empty table, which would look like an empty loop. */
export function requireOwner(tables: readonly { name: string; owned: boolean }[]): void {
  const strange = tables.find(({ owned }) => !owned);
  if (strange === undefined) return;
  throw new OpsError('OPS_014', `the table ${strange.name} belongs to another role`, {
    hint: 'Set DATABASE_URL to the role that ran the migrations.',
  });
}
