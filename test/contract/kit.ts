/** The contract's checks as tests; `ops-loop executor test` runs the same ones for executors of third parties. */
import { describe, test } from 'vitest';
import type { Executor } from '../../local/executors/contract.js';
import { contractChecks, type Examples } from '../../local/executors/kit/checks.js';

export {
  runStep,
  type StepRun,
  type Surroundings,
  startStep,
} from '../../local/executors/kit/attempt.js';
export type { Examples };

export function checkExecutor(executor: Executor, examples: Examples): void {
  describe(`the executor ${executor.name} keeps the contract`, () => {
    for (const { name, run } of contractChecks(executor, examples)) test(name, run);
  });
}
