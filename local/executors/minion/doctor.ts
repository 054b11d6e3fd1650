/** What `ops-loop doctor` says about the commands that the policy allows, and about how programs are run here. */
import { realpath } from 'node:fs/promises';
import { listedEnvironment } from '../../process/environment.js';
import { reach } from '../../process/reach.js';
import { type DoctorContext, type Finding, StepError } from '../contract.js';
import { allowedCommands, grantedVariables, grantOf } from './grants.js';
import { allowedProgram } from './interpreters.js';

/** One finding for each allowed command, and one for how far the runner's hand reaches on this machine. */
export async function examine(ctx: DoctorContext): Promise<Finding[]> {
  const names = allowedCommands(ctx.config);
  if (names.length === 0)
    return [{ name: 'minion', ok: true, message: 'worker_policy allows no command, so none was looked at' }];
  const root = await realpath(ctx.workspace).catch(() => ctx.workspace);
  return [await reach(), ...(await Promise.all(names.map((name) => examineCommand(ctx, name, root))))];
}

async function examineCommand(
  { config, secret }: DoctorContext,
  name: string,
  root: string,
): Promise<Finding> {
  const finding = { name: `minion:${name}` };
  try {
    const grant = grantOf(config, name);
    const variables = grantedVariables(grant, secret);
    const program = await allowedProgram(grant, listedEnvironment().PATH ?? '', root);
    const unset = (grant.env ?? []).filter((variable) => variables[variable] === undefined);
    if (unset.length === 0) return { ...finding, ok: true, message: program };
    const message = `variables that it is to be given are not set: ${unset.join(', ')}`;
    return {
      ...finding,
      ok: false,
      message,
      hint: `Set them for the worker, or take them out of commands.${name}.env.`,
    };
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    return {
      ...finding,
      ok: false,
      message: error.message,
      ...(error.hint !== undefined && { hint: error.hint }),
    };
  }
}
