/** The repository that a step names: where it is, whether it may be used, and what its agent is allowed. */
import { readFile, realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { confine, isInside } from '../../process/confine.js';
import { StepError } from '../contract.js';
import { type Grants, unguardedFlags } from './grants.js';

/** Real paths. */
export type Repository = { directory: string; gitDirectory: string };

/**
 * The repository, inside of the workspace or listed in `allowed_repositories`. Throws a permanent `StepError`:
 * `Confinement` when it is elsewhere, `NotARepository` when `.git` or `.wreckit` is not in that very directory. wreckit
 * would look for them further up, and work there.
 */
export async function openRepository(workspace: string, grants: Grants, asked: string): Promise<Repository> {
  const listed = await realPaths(grants.allowed_repositories);
  const directory = await place(workspace, listed, asked, (root, path) => path === root);
  const git = join(directory, '.git');
  if (!(await exists(git)) || !(await exists(join(directory, '.wreckit')))) throw notARepository(asked);
  await confine(directory, '.wreckit');
  return { directory, gitDirectory: await place(workspace, listed, await gitTarget(git), isInside) };
}

/** A path inside of the workspace, or one that `fits` a listed repository. */
async function place(
  workspace: string,
  listed: readonly string[],
  asked: string,
  fits: (root: string, path: string) => boolean,
): Promise<string> {
  const path = await realpath(resolve(workspace, asked)).catch(() => undefined);
  const isListed = path !== undefined && listed.some((root) => fits(root, path));
  return isListed ? path : confine(workspace, asked);
}

async function realPaths(paths: readonly string[]): Promise<string[]> {
  const found = await Promise.all(
    paths.filter(isAbsolute).map((path) => realpath(path).catch(() => undefined)),
  );
  return found.filter((path) => path !== undefined);
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** In a work tree `.git` is a file that says where it is (gitrepository-layout(5)). */
async function gitTarget(git: string): Promise<string> {
  if ((await stat(git)).isDirectory()) return git;
  const [, target] = /^gitdir: (.+)$/m.exec(await readFile(git, 'utf8')) ?? [];
  return target === undefined ? git : resolve(git, '..', target);
}

const notARepository = (asked: string): StepError =>
  new StepError(`${JSON.stringify(asked)} is no repository that wreckit has been set up in`, {
    outcome: 'permanent',
    errorClass: 'NotARepository',
    hint: 'Name the directory that holds .git, and run `wreckit init` there.',
  });

/** Throws a permanent `StepError` when the repository's agent skips its permission checks and no sandbox holds it. */
export async function requireGuardedAgent({ directory }: Repository, grants: Grants): Promise<void> {
  if (grants.sandboxed) return;
  const flags = unguardedFlags(await readAgent(directory));
  if (flags.length === 0) return;
  throw new StepError(
    `the agent of this repository is told to skip its permission checks: ${flags.join(' ')}`,
    {
      outcome: 'permanent',
      errorClass: 'UnguardedAgent',
      hint: "Take the flags out of the repository's wreckit config, or run the worker in a sandbox and set sandboxed in worker_policy.",
    },
  );
}

/** The local file goes before the shared one, member by member (loadConfig in src/config.ts of wreckit 1.0.0). */
async function readAgent(directory: string): Promise<unknown> {
  const [shared, local] = await Promise.all(
    ['config.json', 'config.local.json'].map((name) => readConfig(join(directory, '.wreckit', name))),
  );
  return { ...shared, ...local };
}

async function readConfig(file: string): Promise<object | undefined> {
  try {
    const config: { agent?: object } = JSON.parse(await readFile(file, 'utf8'));
    return config.agent;
  } catch {
    // Missing or broken: wreckit then goes by its defaults, which have no arguments.
    return undefined;
  }
}
