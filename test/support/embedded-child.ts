/**
 * A process that starts the embedded database in the directory given as first argument, says so in one line of
 * JSON, and stays. A line on stdin, or its end, makes it stop the database and leave.
 */
import { once } from 'node:events';
import { startEmbedded } from '../../local/embedded/embedded.js';
import { OpsError } from '../../supabase/client/errors.js';

const [, , dataDir = ''] = process.argv;
try {
  const database = await startEmbedded({ dataDir });
  const { url, pid, port, joined } = database;
  process.stdout.write(`${JSON.stringify({ url, pid, port, joined })}\n`);
  process.stdin.resume();
  await Promise.race([once(process.stdin, 'data'), once(process.stdin, 'end')]);
  await database.stop();
  process.stdin.destroy();
} catch (error) {
  const { code, message, hint } =
    error instanceof OpsError ? error : { code: '', message: String(error), hint: '' };
  process.stdout.write(`${JSON.stringify({ error: { code, message, hint } })}\n`);
}
