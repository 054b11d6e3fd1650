/**
 * A process that runs one wreckit command in the repository given as first argument, and says in one line of JSON what
 * came of it: `{ state }` or `{ errorClass }`.
 */
import { dirname } from 'node:path';
import { StepError } from '../../../local/executors/contract.js';
import { runWreckit } from '../../../local/executors/wreckit/run.js';

const [, , repository = ''] = process.argv;
const ctx = {
  signal: new AbortController().signal,
  attempt: 1,
  idempotencyKey: 'step',
  workspace: dirname(repository),
  config: { worker_policy: { allowed_wreckit_subcommands: ['run'] }, agent_roles: {} },
  secret: () => undefined,
  setting: () => undefined,
  progress: () => {},
};
const said = await runWreckit(ctx, { command: 'run', repository, item: '1' }).then(
  ({ state }) => ({ state }),
  (error: unknown) => ({ errorClass: error instanceof StepError ? error.errorClass : String(error) }),
);
process.stdout.write(`${JSON.stringify(said)}\n`);
