/** What `worker_policy` lets wreckit steps do. Pure. Every list grants: missing, empty or malformed means none. */
import { z } from 'zod';
import { isOwnVariable } from '../../process/environment.js';
import { type Policies, StepError } from '../contract.js';
import { grantOf, type WreckitParams } from './params.js';

const list = z.array(z.string()).catch([]);
const Grants = z.object({
  allowed_wreckit_subcommands: list,
  /** Repositories outside of the workspace, by their absolute path. */
  allowed_repositories: list,
  /** Variables of the worker that wreckit and its agents are given. */
  wreckit_environment: list,
  /** The worker is in a sandbox of its own: agents may be told to skip their permission checks. */
  sandboxed: z.boolean().catch(false),
});
export type Grants = z.output<typeof Grants>;

export const grantsOf = ({ worker_policy }: Policies): Grants => Grants.parse(worker_policy);

/** Throws a permanent `StepError` of class `NotAllowed`. */
export function requireGrant(grants: Grants, params: WreckitParams): void {
  const asked = grantOf(params);
  if (grants.allowed_wreckit_subcommands.includes(asked)) return;
  throw new StepError(`the policy does not allow wreckit ${asked}`, {
    outcome: 'permanent',
    errorClass: 'NotAllowed',
    hint: `Add "${asked}" to allowed_wreckit_subcommands of worker_policy, if it may run.`,
  });
}

/** The listed variables that are set. Throws a permanent `StepError` when the list names one of the loop's own. */
export function grantedVariables(
  { wreckit_environment }: Grants,
  read: (name: string) => string | undefined,
): Record<string, string> {
  const ours = wreckit_environment.filter(isOwnVariable);
  if (ours.length > 0)
    throw new StepError(`wreckit_environment names variables of the loop itself: ${ours.join(', ')}`, {
      outcome: 'permanent',
      errorClass: 'NotAllowed',
      hint: 'Take them out of wreckit_environment of worker_policy: agents never get the keys of the loop.',
    });
  const set = wreckit_environment.map((name) => [name, read(name)] as const);
  return Object.fromEntries(set.filter((pair): pair is [string, string] => pair[1] !== undefined));
}

/** Flags that take away an agent's own brakes, as the documented configurations of wreckit have them. */
const unguarded = /^--?(dangerously|yolo|bypass)|bypassPermissions/i;

/** The flags of a repository's agent that only a sandbox makes up for. `agent` is that part of wreckit's config. */
export function unguardedFlags(agent: unknown): string[] {
  const args = z.object({ args: z.array(z.string()) }).safeParse(agent);
  return args.success ? args.data.args.filter((flag) => unguarded.test(flag)) : [];
}
