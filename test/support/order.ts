/**
 * The order of the test files, so that the two workers end together: what has processes of its own first, then what
 * shares one, and of each the longest first. Vitest itself would go by what it remembers of the last run, and a fresh
 * clone remembers nothing.
 */
import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Seconds on two quiet cores, of every file that takes three or more; any other comes after them. */
export const slowFiles: Record<string, number> = {
  'benchmark/benchmark.test.ts': 33,
  'crash/kill.test.ts': 29,
  'unit/embedded.test.ts': 25,
  'crash/shutdown.test.ts': 25,
  'drill/disk-full.test.ts': 24,
  'crash/zombie.test.ts': 24,
  'drill/short.test.ts': 16,
  'crash/kill-beat.test.ts': 16,
  'property/lifecycle.test.ts': 15,
  'contract/wreckit.test.ts': 15,
  'sql/mission-state.test.ts': 15,
  'docs/executors.test.ts': 12,
  'unit/worker.test.ts': 12,
  'crash/stale-writes.test.ts': 12,
  'unit/cli-commands.test.ts': 12,
  'unit/cli-program.test.ts': 11,
  'contract/error-reports.test.ts': 11,
  'contract/backup.test.ts': 10,
  'crash/takeover.test.ts': 10,
  'docs/blocks.test.ts': 10,
  'unit/signals.test.ts': 10,
  'sql/alerts.test.ts': 9,
  'property/concurrency.test.ts': 9,
  'sql/simulate.test.ts': 9,
  'unit/cli-supabase.test.ts': 8,
  'sql/heartbeat.test.ts': 8,
  'crash/replaced.test.ts': 8,
  'contract/tracing.test.ts': 8,
  'sql/races.test.ts': 8,
  'unit/process-output.test.ts': 8,
  'sql/roles.test.ts': 7,
  'contract/smoke.test.ts': 7,
  'sql/hostile-conditions.test.ts': 7,
  'contract/openclaw.test.ts': 7,
  'schema/lint.test.ts': 7,
  'property/mutation.test.ts': 6,
  'sql/migrations.test.ts': 6,
  'sql/upgrade.test.ts': 6,
  'docs/cookbook-loops.test.ts': 6,
  'sql/budgets.test.ts': 6,
  'sql/steps.test.ts': 6,
  'sql/recovery.test.ts': 5,
  'unit/cli-policies.test.ts': 5,
  'sql/graphs.test.ts': 5,
  'sql/voting.test.ts': 5,
  'property/policies.test.ts': 5,
  'unit/start.test.ts': 5,
  'schema/rollbacks.test.ts': 4,
  'unit/cli-llm.test.ts': 4,
  'contract/agent-faults.test.ts': 4,
};

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const folder = `${this.ctx.config.root}/test`;
    const seconds = (file: TestSpecification): number => slowFiles[relative(folder, file.moduleId)] ?? 0;
    const shares = (file: TestSpecification): number => (file.project.config.isolate ? 0 : 1);
    return (await super.sort(files)).sort((a, b) => shares(a) - shares(b) || seconds(b) - seconds(a));
  }
}
