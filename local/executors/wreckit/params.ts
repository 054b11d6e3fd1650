/**
 * What a wreckit step may ask for, and how it is said on wreckit's command line. Pure. Everything that comes from
 * outside is bounded here: an item is one word that cannot be an option, free text goes through stdin.
 */
import { z } from 'zod';

/** The order in which wreckit takes an item through its phases (src/domain/states.ts of wreckit 1.0.0). */
export const states = ['idea', 'researched', 'planned', 'implementing', 'critique', 'in_pr', 'done'] as const;
const order: readonly string[] = states;
/** How far along a state is, from 0; -1 for one that is not known. */
export const stageOf = (state: string): number => order.indexOf(state);

export const phases = ['research', 'plan', 'implement', 'critique', 'pr', 'complete'] as const;
export type Phase = (typeof phases)[number];

/** wreckit refuses more than 100 KB of ideas (README of wreckit 1.0.0, payload limits). */
const maxIdeasChars = 100_000;

const repository = z
  .string()
  .min(1)
  .max(1000)
  .describe('the directory of a repository, in the workspace or in allowed_repositories');
const item = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/)
  .describe('an item: its id, number or slug');
const force = z.boolean().optional();

const Ideas = z
  .strictObject({
    command: z.literal('ideas'),
    repository,
    text: z.string().max(maxIdeasChars).regex(/\S/).describe('ideas in words, not blank').optional(),
    file: z.string().min(1).max(1000).describe('a file inside the repository').optional(),
  })
  .refine(({ text, file }) => (text === undefined) !== (file === undefined), 'needs either text or file');

export const WreckitParams = z.discriminatedUnion('command', [
  z.strictObject({ command: z.literal('status'), repository }),
  z.strictObject({
    command: z.literal('list'),
    repository,
    state: z
      .string()
      .max(50)
      .regex(/^[a-z_]+$/)
      .describe(`a state such as ${states.join(', ')}`)
      .optional(),
  }),
  z.strictObject({ command: z.literal('show'), repository, item }),
  Ideas,
  z.strictObject({ command: z.literal('run'), repository, item, force }),
  z.strictObject({ command: z.literal('next'), repository }),
  z.strictObject({ command: z.enum(phases), repository, item, force }),
  z.strictObject({ command: z.literal('doctor'), repository, fix: z.boolean().optional() }),
  z.strictObject({ command: z.literal('rollback'), repository, item, force }),
]);
export type WreckitParams = z.output<typeof WreckitParams>;
export type CommandName = WreckitParams['command'];
/** The parameters of one command. */
export type ParamsOf<C extends CommandName> = Extract<WreckitParams, { command: C }>;

const isForced = (params: WreckitParams): boolean => 'force' in params && params.force === true;
const isFix = (params: WreckitParams): boolean => params.command === 'doctor' && params.fix === true;

/** The words that `allowed_wreckit_subcommands` grants: `run`, `run --force`, `doctor --fix`, … */
export function grantOf(params: WreckitParams): string {
  if (isForced(params)) return `${params.command} --force`;
  return isFix(params) ? `${params.command} --fix` : params.command;
}

/** Does it write, so that it needs the repository for itself? */
export function writes(params: WreckitParams): boolean {
  const reads: readonly CommandName[] = ['status', 'list', 'show', 'doctor'];
  return isFix(params) || !reads.includes(params.command);
}

/** Does wreckit start its coding agent for it? */
export function startsAgent({ command }: WreckitParams): boolean {
  return !['status', 'list', 'show', 'doctor', 'rollback', 'complete'].includes(command);
}

/** wreckit's arguments. `file` of ideas is the real path, already confined. */
export function toArguments(params: WreckitParams, file?: string): string[] {
  const forced = isForced(params) ? ['--force'] : [];
  switch (params.command) {
    case 'status':
      return ['status', '--json'];
    case 'list':
      return ['list', '--json', ...(params.state === undefined ? [] : [`--state=${params.state}`])];
    case 'show':
      return ['show', params.item, '--json'];
    case 'ideas':
      return ['ideas', ...(file === undefined ? [] : [`--file=${file}`])];
    case 'next':
      return ['next'];
    case 'doctor':
      return ['doctor', ...(isFix(params) ? ['--fix'] : [])];
    default:
      return [params.command, params.item, ...forced];
  }
}
