/** Runs openclaw as a program: one `agent exec`, or one turn of `agent`. */
import { dirname } from 'node:path';
import { traceVariable } from '../../process/environment.js';
import { type Command, type Finished, runProcess } from '../../process/run.js';
import { type StepContext, StepError } from '../contract.js';
import { agentArguments, execArguments } from './command.js';
import { openBase, runConfig } from './config.js';
import { directoryOf } from './directory.js';
import { readSaid } from './envelope.js';
import { watchForFallback } from './fallback.js';
import { notStarted } from './not-started.js';
import type { AgentParams, ExecParams } from './params.js';
import { type Room, withRoom } from './room.js';
import type { Said } from './said.js';
import { childEnvironment, configFileOf, type Settings } from './settings.js';
import { judge } from './verdict.js';
import { hasExec, mayFallBack, type Version } from './version.js';

export type RunContext = Pick<
  StepContext,
  'signal' | 'idempotencyKey' | 'traceparent' | 'missionId' | 'workspace'
>;
export type Job = {
  message: string;
  settings: Settings;
  /** Those that the policy grants. */
  variables: Record<string, string>;
  version: Version | undefined;
  bounds: Bounds;
  /** Is told what was used, also when the run then counts as failed. */
  onSaid(said: Said): void;
};
export type Bounds = {
  /** Between TERM and KILL. */
  graceMs: number;
  /** How long OpenClaw may be late with its own deadline. */
  deadlineGraceMs: number;
};

/** Answers of several megabytes are read whole, and behind longer noise the last half of this. */
const keepBytes = 8 * 1024 * 1024;

/** One run without a Gateway. Throws a `StepError`. */
export function runExec(ctx: RunContext, params: ExecParams, job: Job): Promise<Said> {
  if (!hasExec(job.version)) throw tooOld(job.version);
  return withRoom(async (room) => {
    const base = await openBase(configFileOf(job.settings));
    const config = await room.put('openclaw.json', runConfig(base, params.tools ?? []));
    const directory = await directoryOf(ctx, params, room);
    const env = { OPENCLAW_INCLUDE_ROOTS: base?.roots ?? dirname(config) };
    const call = { args: execArguments(params, { config, directory }), stdin: job.message, env };
    const finished = await run(ctx, { params, job, room, call, signal: ctx.signal });
    return settle(finished, { params, job, fellBack: false });
  });
}

/** One turn of an agent. Throws a `StepError`. */
export function runAgent(ctx: RunContext, params: AgentParams, job: Job): Promise<Said> {
  return withRoom(async (room) => {
    const args = agentArguments(params, await room.put('message.txt', job.message));
    const watch = watchForFallback();
    const signal = AbortSignal.any([ctx.signal, watch.signal]);
    const call = { args, env: {}, ...(mayFallBack(job.version) && { onLine: watch.onLine }) };
    const finished = await run(ctx, { params, job, room, call, signal });
    return settle(finished, { params, job, fellBack: watch.signal.aborted });
  });
}

type Call = Pick<Command, 'args' | 'stdin' | 'onLine'> & { env: Record<string, string> };
type Run = { params: ExecParams | AgentParams; job: Job; room: Room; call: Call; signal: AbortSignal };

function run(ctx: RunContext, { params, job, room, call, signal }: Run): Promise<Finished> {
  if (signal.aborted) throw notStarted();
  const { settings, variables, bounds } = job;
  const { env, ...rest } = call;
  const { timeout_seconds: seconds } = params;
  return runProcess({
    ...rest,
    program: settings.program,
    // Not the workspace: OpenClaw reads an .env file where it is started.
    cwd: room.directory,
    env: childEnvironment(settings, variables, {
      ...env,
      ...traceVariable(ctx),
      OPS_IDEMPOTENCY_KEY: ctx.idempotencyKey,
      // What it has no time to remove itself, such as the state of a run that is ended, goes with the room.
      TMPDIR: room.directory,
    }),
    signal,
    secrets: new Set(Object.values(variables)),
    keepBytes,
    graceMs: bounds.graceMs,
    ...(seconds !== undefined && { timeoutMs: seconds * 1_000 + bounds.deadlineGraceMs }),
  });
}

type Settled = { params: ExecParams | AgentParams; job: Job; fellBack: boolean };

function settle(finished: Finished, { params, job, fellBack }: Settled): Said {
  const said = readSaid(finished.stdout.text, params.mode);
  if (said !== undefined) job.onSaid(said);
  return judge({ params, finished, said, fellBack });
}

const tooOld = (version: Version | undefined): StepError =>
  new StepError(`OpenClaw ${version?.text ?? ''} has no \`agent exec\``, {
    outcome: 'permanent',
    errorClass: 'TooOld',
    hint: 'Update it to 2026.8.1 or later, or use mode agent or gateway.',
  });
