import { Argument, type Command } from 'commander';
import { stringify } from '../../../supabase/client/json-text.js';
import { rollbackPolicyOrAlarm, setPolicyOrAlarm } from '../../../supabase/client/policy.js';
import { policyKeys } from '../../../supabase/client/terms.js';
import { wholeNumber } from '../arguments.js';
import type { AddCommand, Bind } from '../command.js';
import { exitCodes } from '../exit-codes.js';
import { table } from '../output.js';
import { readPolicyJson } from '../policy-json.js';
import { relativeTime } from '../times.js';
import { addDiff } from './policy-diff.js';
import { addApply, addExport } from './policy-files.js';
import { addHistory } from './policy-history.js';
import { addSimulate } from './policy-simulate.js';
import { addTest } from './policy-test.js';

export const policyKey = () => new Argument('<key>', 'the policy').choices(policyKeys);
const valueHelp = 'JSON in place, @file, or - for stdin';

export const addPolicy: AddCommand = (program, bind) => {
  const policy = program.command('policy').description('read, set, check, simulate and roll back policies');
  addGet(policy, bind);
  addSet(policy, bind);
  addValidate(policy, bind);
  addSimulate(policy, bind);
  addTest(policy, bind);
  addHistory(policy, bind);
  addDiff(policy, bind);
  addRollback(policy, bind);
  addExport(policy, bind);
  addApply(policy, bind);
};

function addGet(policy: Command, bind: Bind): void {
  policy
    .command('get')
    .description('print a policy; `policy set <key> @file` takes it back')
    .addArgument(policyKey())
    .action(
      bind(async ({ out, connect }, key: string) => {
        const { port } = await connect();
        const policy = await port.getPolicy({ key });
        out.note(`${key}, version ${policy.version}, ${relativeTime(policy.updated_at, out.now())}`);
        out.show(policy, () => stringify(policy.value, 2));
      }),
    );
}

function addSet(policy: Command, bind: Bind): void {
  policy
    .command('set')
    .description('replace a policy; refused with the path of what is wrong')
    .addArgument(policyKey())
    .argument('<value>', valueHelp)
    .option('--reason <text>', 'why; kept in the policy history')
    .action(
      bind(async ({ out, connect }, name: string, given: string, { reason }: { reason?: string }) => {
        const value = await readPolicyJson(given, 'the value');
        const { port } = await connect();
        const policy = await setPolicyOrAlarm(port, { key: name, value, reason });
        out.show(policy, () => `${policy.key} is at version ${policy.version}`);
      }),
    );
}

function addValidate(policy: Command, bind: Bind): void {
  policy
    .command('validate')
    .description('say what is wrong with a policy without setting it')
    .addArgument(policyKey())
    .argument('<value>', valueHelp)
    .action(
      bind(async ({ out, connect }, name: string, given: string) => {
        const value = await readPolicyJson(given, 'the value');
        const { port } = await connect();
        const problems = await port.validatePolicy({ key: name, value });
        const ok = problems.every(({ severity }) => severity !== 'error');
        out.show({ ok, problems }, () => {
          if (problems.length === 0) return `${name} is valid`;
          const rows = problems.map(({ severity, path, message, fix }) => [severity, path, message, fix]);
          return table(['severity', 'path', 'problem', 'fix'], rows, out.paint);
        });
        return ok ? exitCodes.ok : exitCodes.usage;
      }),
    );
}

function addRollback(policy: Command, bind: Bind): void {
  policy
    .command('rollback')
    .description('set a policy to what it was at a version')
    .addArgument(policyKey())
    .argument('<version>', 'the version to go back to', wholeNumber)
    .option('--reason <text>', 'why; kept in the policy history')
    .action(
      bind(async ({ out, connect }, name: string, version: number, { reason }: { reason?: string }) => {
        const { port } = await connect();
        const policy = await rollbackPolicyOrAlarm(port, { key: name, version, reason });
        out.show(policy, () => `${policy.key} is at version ${policy.version}, as it was at ${version}`);
      }),
    );
}
