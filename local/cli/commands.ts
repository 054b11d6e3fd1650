/** The commands in the order that `--help` lists them. */
import type { AddCommand } from './command.js';
import { addAlerts } from './commands/alerts.js';
import { addApprove } from './commands/approve.js';
import { addArchive } from './commands/archive.js';
import { addBackup } from './commands/backup.js';
import { addBenchmark } from './commands/benchmark.js';
import { addBudgets } from './commands/budgets.js';
import { addDemo } from './commands/demo.js';
import { addDlq } from './commands/dlq.js';
import { addDoctor } from './commands/doctor.js';
import { addEmit } from './commands/emit.js';
import { addExecutor } from './commands/executor.js';
import { addHeartbeat } from './commands/heartbeat.js';
import { addKeys } from './commands/keys.js';
import { addLlm } from './commands/llm.js';
import { addMigrate } from './commands/migrate.js';
import { addPause } from './commands/pause.js';
import { addPolicy } from './commands/policy.js';
import { addPropose } from './commands/propose.js';
import { addRadar } from './commands/radar.js';
import { addReject } from './commands/reject.js';
import { addReplay } from './commands/replay.js';
import { addRestore } from './commands/restore.js';
import { addResume } from './commands/resume.js';
import { addRetry } from './commands/retry.js';
import { addSchedules } from './commands/schedules.js';
import { addSignIn } from './commands/sign-in.js';
import { addSmoke } from './commands/smoke.js';
import { addStart } from './commands/start.js';
import { addStatus } from './commands/status.js';
import { addTrace } from './commands/trace.js';
import { addVerifyEnv } from './commands/verify-env.js';
import { addVerifyMigrations } from './commands/verify-migrations.js';
import { addWhy } from './commands/why.js';
import { addWorker } from './commands/worker.js';

const commands: AddCommand[] = [
  addStart,
  addSignIn,
  addDemo,
  addMigrate,
  addVerifyMigrations,
  addVerifyEnv,
  addDoctor,
  addHeartbeat,
  addWorker,
  addExecutor,
  addEmit,
  addPropose,
  addApprove,
  addReject,
  addStatus,
  addAlerts,
  addBudgets,
  addSchedules,
  addWhy,
  addTrace,
  addRetry,
  addReplay,
  addDlq,
  addRadar,
  addLlm,
  addPause,
  addResume,
  addPolicy,
  addKeys,
  addArchive,
  addBackup,
  addRestore,
  addSmoke,
  addBenchmark,
];

export const addCommands: AddCommand = (program, bind) => {
  for (const add of commands) add(program, bind);
};
