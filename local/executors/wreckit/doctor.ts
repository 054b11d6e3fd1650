/** What `ops-loop doctor` says about wreckit on this machine. */
import { listedEnvironment } from '../../process/environment.js';
import { findProgram } from '../../process/program.js';
import { runProcess } from '../../process/run.js';
import type { DoctorContext, Finding } from '../contract.js';
import { programOf } from './call.js';
import { type Grants, grantsOf } from './grants.js';

const versionMs = 10_000;

/** Looks for its programs, and for the variables that the policy hands it; at nothing when the policy grants nothing. */
export async function examine(ctx: DoctorContext): Promise<Finding[]> {
  const grants = grantsOf(ctx.config);
  if (grants.allowed_wreckit_subcommands.length === 0)
    return [{ name: 'wreckit', ok: true, message: 'not granted by worker_policy, so not looked at' }];
  const programs = [findWreckit(programOf(ctx)), findHelper('git'), findHelper('gh')];
  return [...(await Promise.all(programs)), ...findVariables(grants, ctx)];
}

async function findWreckit(program: string): Promise<Finding> {
  const path = await findProgram(program, listedEnvironment().PATH ?? '');
  if (path === undefined) return problem('wreckit', `there is no program ${program}`, install);
  const version = await versionOf(path);
  if (version === undefined)
    return problem('wreckit', `${path} does not run`, 'It needs Bun, or Node 24.2 or later, on PATH.');
  return { name: 'wreckit', ok: true, message: `${path} ${version}` };
}

const install =
  'Install it on the worker, see github.com/mikehostetler/wreckit, and have it on PATH or name it in OPS_WRECKIT_BIN.';

/** Undefined when it does not start, or says nothing: under Node before 24.2 it ends at once with code 0. */
async function versionOf(path: string): Promise<string | undefined> {
  const signal = AbortSignal.timeout(versionMs);
  const call = { program: path, args: ['--version'], cwd: '/', env: listedEnvironment({ CI: '1' }), signal };
  const finished = await runProcess(call).catch(() => undefined);
  return finished?.stdout.text.trim().split('\n')[0] || undefined;
}

/** What wreckit calls, and what is not to be had without it. */
const helpers = {
  git: 'wreckit cannot make branches',
  gh: 'only repositories with merge_mode direct get done',
};

async function findHelper(program: keyof typeof helpers): Promise<Finding> {
  const path = await findProgram(program, listedEnvironment().PATH ?? '');
  const name = `wreckit:${program}`;
  if (path !== undefined) return { name, ok: true, message: path };
  return problem(name, `without ${program} ${helpers[program]}`, `Install ${program} on the worker.`);
}

function findVariables({ wreckit_environment }: Grants, ctx: DoctorContext): Finding[] {
  const unset = wreckit_environment.filter((name) => ctx.secret(name) === undefined);
  if (unset.length === 0) return [];
  const message = `wreckit_environment names variables that are not set: ${unset.join(', ')}`;
  return [problem('wreckit:environment', message, 'Set them for the worker, or take them out.')];
}

const problem = (name: string, message: string, hint: string): Finding => ({
  name,
  ok: false,
  message,
  hint,
});
