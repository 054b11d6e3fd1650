/**
 * Which executors this process has. Built-ins are always there; others come by package name or path, from
 * `OPS_EXECUTORS=pkg,./path.js`, and export by default one executor or a list of them.
 */
import { createRequire } from 'node:module';
import { isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { OpsError } from '../../supabase/client/errors.js';
import type { ExecutorRegistration } from '../../supabase/client/schemas/inputs.js';
import { builtins } from './builtin.js';
import { type Executor, toRegistration } from './contract.js';
import type { Examples } from './kit/checks.js';

export type Registry = {
  readonly names: readonly string[];
  readonly executors: readonly Executor[];
  get(name: string): Executor | undefined;
  /** Throws `OPS_005`, naming what there is. */
  require(name: string): Executor;
  registrations(): ExecutorRegistration[];
};

/** Throws `OPS_016` when two executors share a name: neither may stand in for the other unseen. */
export function createRegistry(executors: readonly Executor[] = builtins): Registry {
  const byName = new Map<string, Executor>();
  for (const executor of executors) {
    if (byName.has(executor.name))
      throw new OpsError('OPS_016', `two executors are named ${executor.name}`, {
        hint: 'Rename one of them, or take it out of OPS_EXECUTORS.',
      });
    byName.set(executor.name, executor);
  }
  const names = [...byName.keys()];
  return {
    names,
    executors,
    get: (name) => byName.get(name),
    require: (name) => byName.get(name) ?? notFound(name, names),
    registrations: () => executors.map(toRegistration),
  };
}

function notFound(name: string, names: string[]): never {
  throw new OpsError('OPS_005', `no executor is named ${name}; there are ${names.join(', ')}`, {
    hint: 'Correct the name, or load the package that has it with OPS_EXECUTORS.',
  });
}

/** The built-ins and what `OPS_EXECUTORS` lists, paths taken from `directory`. Throws `OPS_016`. */
export async function loadRegistry(list: string | undefined, directory = process.cwd()): Promise<Registry> {
  const places = (list ?? '').split(',').map((place) => place.trim());
  const loaded = await Promise.all(places.filter(Boolean).map((place) => loadExecutors(place, directory)));
  return createRegistry([...builtins, ...loaded.flat()]);
}

/** The executors that one package or file exports. Throws `OPS_016`. */
const loadExecutors = async (place: string, directory?: string): Promise<Executor[]> =>
  (await loadExecutorModule(place, directory)).executors;

/** The same, with the examples that it exports for the contract's checks, by executor. Throws `OPS_016`. */
export async function loadExecutorModule(
  place: string,
  directory = process.cwd(),
): Promise<{ executors: Executor[]; examples: Record<string, Examples> }> {
  const { default: exported, examples = {} } = await importFrom(place, directory);
  const found: unknown[] = Array.isArray(exported) ? exported : [exported];
  if (found.length === 0 || !found.every(isExecutor))
    throw new OpsError('OPS_016', `${place} exports no executor by default`, {
      hint: 'Let it `export default defineExecutor({ name, params, traits, run })`, or a list of these.',
    });
  found.forEach(toRegistration);
  return { executors: found, examples };
}

function isExecutor(value: unknown): value is Executor {
  const { name, params, traits, run } = (value ?? {}) as Partial<Executor>;
  const isSchema = typeof params?.safeParse === 'function' && '_zod' in params;
  return typeof name === 'string' && isSchema && typeof traits === 'object' && typeof run === 'function';
}

type Module = { default?: unknown; examples?: Record<string, Examples> };

async function importFrom(place: string, directory: string): Promise<Module> {
  try {
    return await import(specifier(place, directory));
  } catch (cause) {
    throw new OpsError('OPS_016', `cannot load the executors in ${place}: ${(cause as Error).message}`, {
      hint: 'OPS_EXECUTORS takes installed packages and paths (./x.js), separated by commas.',
      cause,
    });
  }
}

function specifier(place: string, directory: string): string {
  const isPath = place.startsWith('.') || isAbsolute(place) || /\.[cm]?[jt]s$/.test(place);
  if (isPath) return pathToFileURL(resolve(directory, place)).href;
  if (place.startsWith('file:')) return place;
  try {
    // The caller's own packages come before ours.
    return pathToFileURL(createRequire(join(directory, 'package.json')).resolve(place)).href;
  } catch {
    return place;
  }
}
