import { parseConnection } from '../../supabase/client/connection.js';
import { dataRoot, openChosen, type SqlDatabase } from '../database.js';
import { type DemoProgress, type DemoStage, runDemo } from '../demo/demo.js';
import { startModelServer } from '../demo/model.js';
import { modelEnvironment, playRole } from '../demo/roles.js';
import { takeRoom } from '../demo/room.js';
import { startEmbedded } from '../embedded/embedded.js';
import type { Environment } from '../env.js';
import { createLogger } from '../logger.js';
import { startLoop } from '../loop.js';
import { newSecrets } from '../secrets.js';
import { bringUpToDate } from './commands/migrate.js';
import type { Context } from './context.js';
import { renderReport } from './demo-summary.js';
import { type ExitCode, exitCodes } from './exit-codes.js';
import { type Progress, startProgress } from './progress.js';

export async function demo(context: Context): Promise<ExitCode> {
  const { out, atEnd } = context;
  const model = await startModelServer(playRole);
  atEnd(model.close);
  const env = demoEnvironment(context, model.url);
  const chosen = await startThrowAway(context, env);
  const database = openChosen(chosen);
  atEnd(database.close);
  const secrets = newSecrets();
  // Failures are part of the show; whoever wants its log says so with OPS_LOG_LEVEL.
  const log = createLogger(env.OPS_LOG_LEVEL === 'info' ? 'fatal' : env.OPS_LOG_LEVEL);
  const start = async () => {
    const options = { env, secrets, chosen, port: database.port, log, httpPort: 0, print: () => {} };
    const loop = await startLoop(options);
    atEnd(loop.stop);
    return loop.server;
  };
  const progress = stagedProgress(context);
  const report = await runDemo({
    port: database.port,
    startLoop: start,
    webhookSecret: secrets.GITHUB_WEBHOOK_SECRET,
    onProgress: progress.onProgress,
  }).finally(progress.end);
  out.show(report, () => `\n${renderReport(report, out)}`);
  out.note(
    '→ `npm start` runs the same loop and stays up; `npm start -- --samples` feeds it a few of these events.',
  );
  return report.ok ? exitCodes.ok : exitCodes.failed;
}

const demoEnvironment = (context: Context, modelUrl: string): Environment => ({
  ...context.env(),
  ...modelEnvironment(modelUrl),
  OPS_HOST: '127.0.0.1',
  OPS_WORKER_NAME: `demo-${process.pid}`,
  OPS_REACTIVE: true,
});

/** A database of its own, with our schema in it. */
async function startThrowAway(context: Context, env: Environment): Promise<SqlDatabase> {
  const { out, atEnd } = context;
  const room = await takeRoom(dataRoot(env));
  atEnd(room.remove);
  const { url, stop } = await startEmbedded({ dataDir: room.dataDir });
  atEnd(stop);
  const connection = parseConnection(url);
  const config = { ...connection.config, application_name: 'ops-loop demo' };
  out.note(`demo on ${connection.label}, a database of its own that is removed at the end`);
  const chosen: SqlDatabase = { ...connection, config, kind: 'embedded', url, stop };
  await bringUpToDate(context, chosen);
  return chosen;
}

const stageNames: Record<DemoStage, string> = {
  deliver: 'delivering webhooks',
  settle: 'deciding and working',
  approve: 'after the approval ',
};

/** One bar, or one run of lines, per stage. */
function stagedProgress({ out }: Context): { onProgress: DemoProgress; end: () => void } {
  let current: { stage: DemoStage; progress: Progress } | undefined;
  const end = (): void => {
    current?.progress.end();
    current = undefined;
  };
  const onProgress: DemoProgress = (stage, done, total) => {
    if (current?.stage !== stage) {
      end();
      current = { stage, progress: startProgress(out, stageNames[stage]) };
    }
    current.progress.to(done, total);
  };
  return { onProgress, end };
}
