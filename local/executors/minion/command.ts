/** Runs one allowed command. */
import { mkdir, stat } from 'node:fs/promises';
import { confine } from '../../process/confine.js';
import { listedEnvironment, traceVariable } from '../../process/environment.js';
import { runProcess } from '../../process/run.js';
import { type StepContext, StepError } from '../contract.js';
import { type Grant, grantedVariables, grantOf } from './grants.js';
import { allowedProgram } from './interpreters.js';
import { type CommandResult, judge } from './judgement.js';
import type { CommandParams } from './params.js';
import { type Place, toArguments } from './values.js';

export type CommandContext = Pick<
  StepContext,
  'signal' | 'idempotencyKey' | 'traceparent' | 'workspace' | 'config' | 'secret'
>;

/** Of stdout and stderr each: both, and what is read out of them, fit into a result. */
const keepBytes = 128 * 1024;

/** Throws a `StepError`; when the step's signal ended it, the signal's reason. */
export async function runCommand(ctx: CommandContext, params: CommandParams): Promise<CommandResult> {
  const grant = grantOf(ctx.config, params.command);
  const variables = grantedVariables(grant, (name) => ctx.secret(name));
  const place = await openPlace(ctx.workspace, grant, params.cwd);
  const env = listedEnvironment({
    ...traceVariable(ctx),
    ...variables,
    OPS_IDEMPOTENCY_KEY: ctx.idempotencyKey,
  });
  const finished = await runProcess({
    ...{ cwd: place.cwd, env, signal: ctx.signal, keepBytes },
    program: await allowedProgram(grant, env.PATH ?? '', place.root),
    args: await toArguments(grant, params.arguments ?? [], place),
    secrets: new Set(Object.values(variables)),
    ...(params.stdin !== undefined && { stdin: params.stdin }),
    ...(grant.timeout_seconds !== undefined && { timeoutMs: grant.timeout_seconds * 1_000 }),
  });
  if (finished.ending === 'aborted') throw ctx.signal.reason;
  return judge(grant, finished);
}

/** The workspace, made if it is not there yet, and the directory in it. */
async function openPlace(workspace: string, { cwd = '.' }: Grant, asked = '.'): Promise<Place> {
  await mkdir(workspace, { recursive: true });
  const root = await confine(workspace, '.');
  const place = { root, cwd: await confine(await confine(root, cwd), asked) };
  if ((await stat(place.cwd)).isDirectory()) return place;
  throw new StepError(`${JSON.stringify(asked)} is not a directory`, {
    outcome: 'permanent',
    errorClass: 'Confinement',
    hint: 'Name a directory inside of the workspace.',
  });
}
