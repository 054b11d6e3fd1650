/**
 * The commands in the order that `--help` lists them. A call loads its own alone: all of them together take as long as
 * everything else that it needs.
 */
import type { Command } from 'commander';
import type { AddCommand, Bind } from './command.js';

const commands: Record<string, () => Promise<AddCommand>> = {
  start: async () => (await import('./commands/start.js')).addStart,
  'sign-in': async () => (await import('./commands/sign-in.js')).addSignIn,
  demo: async () => (await import('./commands/demo.js')).addDemo,
  migrate: async () => (await import('./commands/migrate.js')).addMigrate,
  'verify-migrations': async () => (await import('./commands/verify-migrations.js')).addVerifyMigrations,
  'verify-env': async () => (await import('./commands/verify-env.js')).addVerifyEnv,
  doctor: async () => (await import('./commands/doctor.js')).addDoctor,
  heartbeat: async () => (await import('./commands/heartbeat.js')).addHeartbeat,
  worker: async () => (await import('./commands/worker.js')).addWorker,
  executor: async () => (await import('./commands/executor.js')).addExecutor,
  emit: async () => (await import('./commands/emit.js')).addEmit,
  propose: async () => (await import('./commands/propose.js')).addPropose,
  approve: async () => (await import('./commands/approve.js')).addApprove,
  reject: async () => (await import('./commands/reject.js')).addReject,
  status: async () => (await import('./commands/status.js')).addStatus,
  alerts: async () => (await import('./commands/alerts.js')).addAlerts,
  budgets: async () => (await import('./commands/budgets.js')).addBudgets,
  schedules: async () => (await import('./commands/schedules.js')).addSchedules,
  why: async () => (await import('./commands/why.js')).addWhy,
  trace: async () => (await import('./commands/trace.js')).addTrace,
  retry: async () => (await import('./commands/retry.js')).addRetry,
  cancel: async () => (await import('./commands/cancel.js')).addCancel,
  replay: async () => (await import('./commands/replay.js')).addReplay,
  dlq: async () => (await import('./commands/dlq.js')).addDlq,
  radar: async () => (await import('./commands/radar.js')).addRadar,
  llm: async () => (await import('./commands/llm.js')).addLlm,
  pause: async () => (await import('./commands/pause.js')).addPause,
  resume: async () => (await import('./commands/resume.js')).addResume,
  policy: async () => (await import('./commands/policy.js')).addPolicy,
  keys: async () => (await import('./commands/keys.js')).addKeys,
  archive: async () => (await import('./commands/archive.js')).addArchive,
  backup: async () => (await import('./commands/backup.js')).addBackup,
  restore: async () => (await import('./commands/restore.js')).addRestore,
  smoke: async () => (await import('./commands/smoke.js')).addSmoke,
  benchmark: async () => (await import('./commands/benchmark.js')).addBenchmark,
};

/** Adds the command that is called; every one when it is none of them, for `--help`, aliases and suggestions. */
export async function addCommands(program: Command, bind: Bind, called?: string): Promise<void> {
  const load = called !== undefined && Object.hasOwn(commands, called) ? commands[called] : undefined;
  const loads = load === undefined ? Object.values(commands) : [load];
  for (const add of await Promise.all(loads.map((one) => one()))) add(program, bind);
}
