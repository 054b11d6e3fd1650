import { Command, CommanderError } from 'commander';
import { OpsError } from '../../supabase/client/errors.js';
import { packageVersion } from '../version.js';
import { binder } from './command.js';
import { addCommands } from './commands.js';
import { type ExitCode, exitCodeHelp, exitCodes } from './exit-codes.js';
import { createOutput, type Place } from './output.js';

/** Runs one command line and answers its exit code. Never throws, never ends the process. */
export async function runProgram(args: string[], place: Place = {}): Promise<ExitCode> {
  let code: ExitCode = exitCodes.ok;
  const called = args.find((arg) => !arg.startsWith('-'));
  const program = await createProgram((given) => (code = given), place, called);
  try {
    await program.parseAsync(args, { from: 'user' });
    return code;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return usageOutcome(error, args.includes('--json'), place);
  }
}

/** The program with the command that is called, or with all of them. `finish` gets the exit code. */
export async function createProgram(
  finish: (code: ExitCode) => void = () => {},
  place: Place = {},
  called?: string,
): Promise<Command> {
  const { stdout = process.stdout, stderr = process.stderr } = place;
  const program = new Command('ops-loop')
    .description('The loop that lets a small team hand its operations to agents and scripts, on Postgres.')
    .version(packageVersion(), '-v, --version')
    .option('--json', 'print JSON on stdout and nothing else there')
    .configureHelp({ showGlobalOptions: true })
    // Usage errors are shown once, by us, in the form of every other error.
    .configureOutput({
      outputError: () => {},
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
    })
    .exitOverride()
    .addHelpText('after', exitCodeHelp());
  await addCommands(program, binder(finish, place), called);
  return program;
}

/** `--help` and `--version` have printed already; anything else is a mistake in the call. */
function usageOutcome(error: CommanderError, json: boolean, place: Place): ExitCode {
  if (error.exitCode === 0) return exitCodes.ok;
  if (error.code !== 'commander.help') createOutput({ ...place, json }).fail(usageProblem(error.message));
  return exitCodes.usage;
}

/** Commander puts its suggestion in a second line: `(Did you mean status?)`. */
export function usageProblem(message: string): OpsError {
  const [what = '', suggestion] = message.replace(/^error: /, '').split('\n');
  const hint =
    suggestion?.replace(/^\((.*)\)$/, '$1') ?? 'Run `ops-loop --help`, or `ops-loop <command> --help`.';
  return new OpsError('OPS_011', what, { hint });
}
