/**
 * Policies in files. A directory of `<key>.json` files is what `policy export` writes: applying it replaces each of
 * those policies. A recipe (`recipe.json`: `{title, policies: {key: value}}`) is merged into what is there.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { type ExactJson, exactJson } from '../../supabase/client/json-text.js';
import { merge } from '../../supabase/client/policy-files.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { type PolicyKey, policyKeys } from '../../supabase/client/terms.js';
import { usageError } from './context.js';
import { pathOf } from './files.js';
import { readPolicyFile } from './policy-json.js';

export type Policies = Partial<Record<PolicyKey, ExactJson>>;
export const Recipe = z.strictObject({
  title: z.string(),
  policies: z.partialRecord(z.enum(policyKeys), exactJson),
});

/** What files hold: whole policies, or a recipe that is merged. */
export type Source = { merges: boolean; title?: string; policies: Policies };

/** Reads a recipe, a directory of policies, or one policy. Throws a usage error that names the file. */
export async function readSource(given: string): Promise<Source> {
  const path = pathOf(given);
  const info = await stat(path).catch(() => undefined);
  if (info === undefined)
    throw usageError(
      `there is no file or directory ${given}`,
      'Check the path; it is relative to the directory you are in.',
    );
  if (!info.isDirectory()) return readFileSource(path);
  const keys = keysIn(await readdir(path), path);
  if (keys === 'recipe') return readFileSource(join(path, 'recipe.json'));
  const values = await Promise.all(keys.map((key) => readPolicyFile(join(path, `${key}.json`))));
  return { merges: false, policies: Object.fromEntries(keys.map((key, i) => [key, values[i] ?? null])) };
}

/** What may stand beside policies and is none: what they are tried with. */
const companions = ['fixtures.json', 'events.json'];

/**
 * Which policies a directory holds by the names of its files. A file that would be passed over, such as one whose name
 * has a typing error, is refused: who applies a directory believes all of it to hold.
 */
function keysIn(names: string[], path: string): PolicyKey[] | 'recipe' {
  const keys = policyKeys.filter((key) => names.includes(`${key}.json`));
  const recipe = names.includes('recipe.json');
  const files = names.filter((name) => name.endsWith('.json') && !companions.includes(name));
  const known = recipe ? ['recipe.json'] : keys.map((key) => `${key}.json`);
  const passedOver = files.filter((name) => !known.includes(name));
  if (passedOver.length > 0 && known.length > 0)
    throw usageError(
      `${path}: ${passedOver.join(', ')} would be passed over: ${recipe ? 'with a recipe.json only that is read' : 'no policy has that name'}`,
      `Rename it, or move it elsewhere. A policy's file is named after its key: ${policyKeys.join(', ')}.`,
    );
  if (known.length > 0) return recipe ? 'recipe' : keys;
  throw usageError(
    `${path} holds no policy`,
    'It needs a recipe.json, or files named after policies such as reaction_matrix.json.',
  );
}

async function readFileSource(path: string): Promise<Source> {
  const value = await readPolicyFile(path);
  const name = basename(path, '.json');
  const key = policyKeys.find((known) => known === name);
  if (key !== undefined) return { merges: false, policies: { [key]: value } };
  const recipe = Recipe.safeParse(value);
  if (recipe.success) return { merges: true, ...recipe.data };
  throw usageError(
    `${path} is neither a recipe nor named after a policy: ${z.prettifyError(recipe.error)}`,
    `A recipe is {"title": …, "policies": {…}}; a policy's file is named after its key: ${policyKeys.join(', ')}.`,
  );
}

export type Standing = { key: PolicyKey; version: number; value: ExactJson | undefined };

/** The live policies of these keys; one that is not set has version 0 and no value. */
export async function readLive(
  port: Pick<OpsPort, 'getPolicy'>,
  keys: readonly PolicyKey[],
): Promise<Standing[]> {
  return Promise.all(
    keys.map(async (key) => {
      try {
        const { version, value } = await port.getPolicy({ key });
        return { key, version, value };
      } catch (error) {
        if ((error as { code?: unknown }).code !== 'OPS_002') throw error;
        return { key, version: 0, value: undefined };
      }
    }),
  );
}

/** What the policies would be once the source is applied. */
export function applied({ merges, policies }: Source, live: Standing[]): Policies {
  return Object.fromEntries(
    live.map(({ key, value }) => {
      const given = policies[key] ?? null;
      return [key, merges ? merge(value, given) : given];
    }),
  );
}

export const keysOf = ({ policies }: Source): PolicyKey[] => policyKeys.filter((key) => key in policies);
