/**
 * The configuration of one `agent exec`: the operator's own, and above it exactly the tools that the step was granted.
 * OpenClaw adds up lists when it merges an included file (tried with 2026.9.6), so a list of tools in the operator's
 * file would widen the grant; such a file is refused. What it denies stays denied.
 */
import { readFile, realpath } from 'node:fs/promises';
import { delimiter, dirname } from 'node:path';
import { z } from 'zod';
import { StepError } from '../contract.js';

/** The operator's file, and the directories that OpenClaw may include files from on its behalf. */
export type BaseConfig = { file: string; roots: string } | undefined;

const Own = z.looseObject({ $include: z.undefined().optional(), tools: z.unknown().optional() });
const Tools = z
  .looseObject({
    $include: z.undefined().optional(),
    allow: z.undefined().optional(),
    alsoAllow: z.undefined().optional(),
  })
  .optional();

/** Why a configuration cannot be built upon; undefined when it can. Pure. */
export function problemOf(text: string): string | undefined {
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch {
    return 'is not plain JSON';
  }
  const own = Own.safeParse(config);
  if (!own.success) return 'is no JSON object, or includes another file at its top';
  return Tools.safeParse(own.data.tools).success
    ? undefined
    : 'says itself which tools are allowed (tools.allow, tools.alsoAllow or an include in tools)';
}

/** Looks the operator's configuration over. Throws a permanent `StepError` of class `Configuration`. */
export async function openBase(file: string): Promise<BaseConfig> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw unusable(file, `cannot be read (${error.code})`);
  });
  if (text === undefined) return undefined;
  const problem = problemOf(text);
  if (problem !== undefined) throw unusable(file, problem);
  return { file, roots: [...new Set([dirname(file), dirname(await realpath(file))])].join(delimiter) };
}

const unusable = (file: string, why: string): StepError =>
  new StepError(`the OpenClaw configuration ${file} ${why}`, {
    outcome: 'permanent',
    errorClass: 'Configuration',
    hint: 'The tools of a step come from allowed_tools of worker_policy. Give OPS_OPENCLAW_CONFIG a plain JSON file without tools.allow.',
  });

/** What `--config` gets. Without tools everything is denied: an empty list of allowed ones would allow all. Pure. */
export function runConfig(base: BaseConfig, tools: readonly string[]): string {
  return JSON.stringify({
    ...(base && { $include: base.file }),
    tools: tools.length === 0 ? { deny: ['*'] } : { allow: tools },
  });
}
