import { relative } from 'node:path';
import { type ChosenDatabase, dataRoot } from '../database.js';
import { deliverSamples } from '../demo/samples.js';
import type { Environment } from '../env.js';
import { createLogger } from '../logger.js';
import { type RunningLoop, startLoop } from '../loop.js';
import { type ProvidedSecrets, provideSecrets } from '../secrets.js';
import { signInUrl } from '../server.js';
import { sayStarted } from '../started.js';
import { startTracing } from '../tracing/tracing.js';
import type { Worker } from '../worker/worker.js';
import { bringUpToDate } from './commands/migrate.js';
import type { Connected, Context } from './context.js';
import { watchErrors } from './error-watch.js';
import { listenForStop, whenAborted } from './signals.js';

export type StartFlags = { samples?: boolean };

export async function start(context: Context, { samples = false }: StartFlags): Promise<undefined> {
  const { out, connect, atEnd } = context;
  const env = context.env();
  const connected = await connect({ startEmbedded: true, max: 20 });
  const { chosen, port } = connected;
  out.note(`starting on database ${chosen.label}${chosen.kind === 'embedded' ? ', embedded' : ''}`);
  if (chosen.kind === 'supabase') out.note('migrations need DATABASE_URL; the schema is taken as it is');
  else await bringUpToDate(context, chosen);
  const provided = await provideSecrets(env, dataRoot(env));
  const { secrets } = provided;
  const watch = watchErrors(context, env, 'start');
  const log = createLogger(env.OPS_LOG_LEVEL, undefined, watch?.onErrorLine);
  const cron = env.OPS_HEARTBEAT_CRON;
  const print = (line: string): void => out.note(line);
  const stopping = listenForStop(log);
  const { signal } = stopping;
  const tracing = await startTracing(env, { port, log });
  if (tracing !== undefined) atEnd(tracing.stop);
  const loop = await startLoop({
    ...{ env, secrets, chosen, port, log, cron, print, signal },
    httpPort: env.OPS_PORT,
    ...(watch && { reportError: watch.report }),
  });
  atEnd(loop.stop);
  atEnd(await sayStarted(dataRoot(env), loop.server.url));
  stopping.attach(loop.worker);
  if (!signal.aborted) {
    announce(context, env, connected, loop, provided);
    if (samples) await feed(context, loop, secrets.GITHUB_WEBHOOK_SECRET);
    else await offerSamples(context, connected);
  }
  await Promise.race([whenAborted(signal), whenReplaced(loop.worker)]);
  out.note('stopping');
  await loop.stop();
  stopping.dispose();
  if (loop.worker.replacedBy !== undefined) throw loop.worker.replacedBy;
}

/** Resolves when another process has the worker's name; whatever else ends it, the rest goes on. */
async function whenReplaced({ done }: Worker): Promise<void> {
  if ((await done) !== 'replaced') await new Promise<never>(() => {});
}

function announce(
  { out }: Context,
  env: Environment,
  { chosen }: Connected,
  { server }: RunningLoop,
  { secrets, made, file }: ProvidedSecrets,
): void {
  const page = signInUrl(server.url, secrets.OPS_API_KEY);
  const started = {
    event: 'started',
    url: server.url,
    page,
    database: chosen.label,
    ...(chosen.kind === 'embedded' ? { database_url: chosen.url } : {}),
    generated_secrets: made,
  };
  out.show(started, () =>
    [
      `page       ${page}`,
      `webhooks   ${server.url}/api/ops/webhooks/github`,
      ...psqlLine(chosen),
      ...(file === undefined ? [] : [`secrets    ${made.join(', ')}: ${relative(process.cwd(), file)}`]),
      `heartbeat  ${env.OPS_HEARTBEAT_CRON}, and at once when events come in`,
    ].join('\n'),
  );
}

/** The embedded database belongs to whoever runs this; the password of another one is not ours to print. */
const psqlLine = (chosen: ChosenDatabase): string[] =>
  chosen.kind === 'embedded' ? [`psql       psql '${chosen.url}'`] : [];

async function offerSamples({ out }: Context, { port }: Connected): Promise<void> {
  const { events } = await port.status();
  const isEmpty = Object.entries(events).every(([, count]) => count === 0);
  if (isEmpty)
    out.note(
      '→ There is no event yet. In another terminal: `npm run emit -- demo:hello`, then `npm run trace -- <its id>`.\n' +
        '  Or stop this with Ctrl-C and let `npm start -- --samples` feed it a few.',
    );
}

async function feed({ out }: Context, { server }: RunningLoop, secret: string): Promise<void> {
  const { stored, sameBody, events } = await deliverSamples(server.url, secret);
  out.show({ event: 'samples', stored, known: sameBody, events }, () => {
    const lines = events.map(({ type, id }) => `  github:${type}  npm run trace -- ${id}`);
    return [`samples    ${stored} events delivered, ${sameBody} known before`, ...lines].join('\n');
  });
}
