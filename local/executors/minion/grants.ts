/** Which command a step may run, by `worker_policy`. Pure. Missing, empty or malformed means none. */
import { z } from 'zod';
import { Command } from '../../../supabase/client/schemas/policies.js';
import { isOwnVariable } from '../../process/environment.js';
import { type Policies, StepError } from '../contract.js';

const Grants = z.object({
  allowed_commands: z.array(z.string()).catch([]),
  commands: z.record(z.string(), z.unknown()).catch({}),
});

/** A command that may run: its name, and all that the policy says of it. */
export type Grant = Command & { name: string; program: string };

export const allowedCommands = ({ worker_policy }: Policies): readonly string[] =>
  Grants.parse(worker_policy).allowed_commands;

/** Throws a permanent `StepError` of class `NotAllowed`. */
export function grantOf({ worker_policy }: Policies, name: string): Grant {
  const grants = Grants.parse(worker_policy);
  if (!grants.allowed_commands.includes(name))
    throw notAllowed(
      `the policy does not allow the command ${JSON.stringify(name)}`,
      'Add its name to allowed_commands of worker_policy, if it may run.',
    );
  const parsed = Command.safeParse(Object.hasOwn(grants.commands, name) ? grants.commands[name] : {});
  if (!parsed.success)
    throw notAllowed(
      `worker_policy describes the command ${name} in a way that is not valid: ${z.prettifyError(parsed.error)}`,
      `Correct commands.${name} of worker_policy.`,
    );
  return { ...parsed.data, name, program: parsed.data.program ?? name };
}

/** The variables that the policy hands on and that are set. Throws a permanent `StepError` for one of the loop's own. */
export function grantedVariables(
  { name, env = [] }: Grant,
  read: (name: string) => string | undefined,
): Record<string, string> {
  const own = env.filter(isOwnVariable);
  if (own.length > 0)
    throw notAllowed(
      `the command ${name} asks for variables of the loop itself: ${own.join(', ')}`,
      `Take them out of commands.${name}.env of worker_policy: programs never get the keys of the loop.`,
    );
  const set = env.map((variable) => [variable, read(variable)] as const);
  return Object.fromEntries(set.filter((pair): pair is [string, string] => pair[1] !== undefined));
}

export const notAllowed = (message: string, hint: string): StepError =>
  new StepError(message, { outcome: 'permanent', errorClass: 'NotAllowed', hint });
