/** A worker in a process of its own that runs openclaw steps, to be killed. Its argument: database and settings. */
import { pino } from 'pino';
import { openclaw } from '../../../local/executors/openclaw/openclaw.js';
import { createRegistry } from '../../../local/executors/registry.js';
import { startWorker } from '../../../local/worker/worker.js';
import { openDatabase } from '../../../supabase/client/pg.js';

const { url, settings } = JSON.parse(process.argv[2] ?? '') as {
  url: string;
  settings: Record<string, string>;
};
const { port } = openDatabase({ connectionString: url });
await startWorker({
  ...{ port, log: pino({ level: 'silent' }), name: 'doomed', print: () => {} },
  registry: createRegistry([openclaw]),
  secrets: (name) => settings[name],
});
