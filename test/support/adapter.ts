/** The port as this run wants it: over `pg`, or, with `npm run test:supabase`, over supabase-js and the stand-in for PostgREST. */
import type { OpenDatabase } from '../../local/database.js';
import { openDatabase } from '../../supabase/client/pg.js';
import { parseProject } from '../../supabase/client/project.js';
import { openSupabase } from '../../supabase/client/supabase.js';
import type { TestDatabase } from './database.js';
import { type PostgrestOptions, startPostgrest } from './postgrest.js';

/** Set by `npm run test:supabase`. */
export const overSupabase = process.env.OPS_TEST_SUPABASE === '1';

/** `max` connections; a statement may take as long as a test's own. */
export async function openAdapter(db: TestDatabase, max = 10): Promise<OpenDatabase> {
  if (!overSupabase) return openDatabase({ connectionString: db.url, max, statement_timeout: 20_000 });
  return openThroughApi({ databaseUrl: db.adminUrl, timeoutMs: 20_000 });
}

/** A stand-in of its own, closed with the port. */
export async function openThroughApi(options: PostgrestOptions): Promise<OpenDatabase> {
  const server = await startPostgrest(options);
  const { port } = openSupabase(parseProject(server.url, server.keys.secret));
  return { port, close: server.close };
}
