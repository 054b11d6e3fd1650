/** Binds a command's handler to commander: makes its context, shows what it throws, keeps its exit code. */
import type { Command } from 'commander';
import { type Context, openContext } from './context.js';
import { type ExitCode, exitCodeOf, exitCodes } from './exit-codes.js';
import { asOpsError, createOutput, type Place } from './output.js';

/** Arguments, then options, as commander hands them over. Answers nothing for success, or an exit code. */
// biome-ignore lint/suspicious/noExplicitAny: commander types neither arguments nor options
export type Handler = (context: Context, ...given: any[]) => Promise<ExitCode | undefined>;
export type Bind = (handler: Handler) => (...given: unknown[]) => Promise<void>;
export type AddCommand = (program: Command, bind: Bind) => void;

/** `finish` gets the exit code once the command has cleaned up. */
export function binder(finish: (code: ExitCode) => void, place: Place = {}): Bind {
  return (handler) =>
    async (...given) => {
      const command = given.pop() as Command;
      const out = createOutput({ ...place, json: command.optsWithGlobals().json === true });
      const context = openContext(fullName(command), out, place.variables);
      try {
        finish((await handler(context, ...given)) ?? exitCodes.ok);
      } catch (thrown) {
        await context.failed(thrown);
        const error = asOpsError(thrown);
        out.fail(error);
        finish(exitCodeOf(error.code));
      } finally {
        await context.close();
      }
    };
}

/** `dlq requeue`, without the program's own name. */
function fullName(command: Command): string {
  const { parent } = command;
  return parent?.parent ? `${fullName(parent)} ${command.name()}` : command.name();
}
