import { OpsError } from '../../../supabase/client/errors.js';
import { collectVariables, Environment, readEnvironment } from '../../env.js';
import type { AddCommand } from '../command.js';
import { type ExitCode, exitCodes } from '../exit-codes.js';
import type { Output } from '../output.js';
import { table } from '../output.js';

/** Shown as set or not set, never by value. */
const hidden = /KEY|SECRET|URL|TOKEN/;

type Variable = { name: string; set: boolean; value: string | null };

export const addVerifyEnv: AddCommand = (program, bind) => {
  program
    .command('verify-env')
    .alias('check-env')
    .description('check every environment variable and show what applies')
    .action(bind(async ({ out, variables }) => verify(out, variables)));
};

function verify(out: Output, given: NodeJS.ProcessEnv): ExitCode {
  const problems = findProblems(given);
  const variables = listVariables(given, problems);
  out.show({ ok: problems.length === 0, problems, variables }, () => {
    const rows = variables.map(({ name, set, value }) => [name, set ? 'set' : 'default', value]);
    return table(['variable', 'from', 'value'], rows, out.paint);
  });
  if (problems.length === 0) return exitCodes.ok;
  if (!out.json)
    out.fail(
      new OpsError('OPS_016', `environment invalid: ${problems.join('; ')}`, {
        hint: '.env.example describes each variable.',
      }),
    );
  return exitCodes.usage;
}

function listVariables(given: NodeJS.ProcessEnv, problems: string[]): Variable[] {
  const found = collectVariables({ variables: given });
  const defaults: Record<string, unknown> = Environment.parse({});
  return Object.keys(Environment.shape).map((name) => {
    const set = name in found;
    const value = set ? found[name] : defaults[name];
    if (problems.some((problem) => problem.startsWith(`${name} `))) return { name, set, value: '(invalid)' };
    if (value === undefined) return { name, set, value: null };
    return { name, set, value: set && hidden.test(name) ? '(hidden)' : String(value) };
  });
}

function findProblems(variables: NodeJS.ProcessEnv): string[] {
  try {
    readEnvironment({ variables });
    return [];
  } catch (error) {
    if (error instanceof OpsError && Array.isArray(error.detail)) return error.detail.map(String);
    throw error;
  }
}
