/**
 * Policies in files. A directory of `<key>.json` files is what `policy export` writes: applying it replaces each of
 * those policies. A recipe (`recipe.json`: `{title, policies: {key: value}}`) is merged into what is there.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { type Json, merge } from '../../supabase/client/policy-files.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { type PolicyKey, policyKeys } from '../../supabase/client/terms.js';
import { usageError } from './context.js';

export type Policies = Partial<Record<PolicyKey, Json>>;
export const Recipe = z.strictObject({
  title: z.string(),
  policies: z.partialRecord(z.enum(policyKeys), z.json()),
});

/** What files hold: whole policies, or a recipe that is merged. */
export type Source = { merges: boolean; title?: string; policies: Policies };

/** Reads a recipe, a directory of policies, or one policy. Throws a usage error that names the file. */
export async function readSource(path: string): Promise<Source> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined)
    throw usageError(
      `there is no file or directory ${path}`,
      'Check the path; it is relative to the directory you are in.',
    );
  if (!info.isDirectory()) return readFileSource(path);
  const names = await readdir(path);
  if (names.includes('recipe.json')) return readFileSource(join(path, 'recipe.json'));
  const keys = policyKeys.filter((key) => names.includes(`${key}.json`));
  if (keys.length === 0)
    throw usageError(
      `${path} holds no policy`,
      'It needs a recipe.json, or files named after policies such as reaction_matrix.json.',
    );
  const values = await Promise.all(keys.map((key) => readJsonFile(join(path, `${key}.json`))));
  return { merges: false, policies: Object.fromEntries(keys.map((key, i) => [key, values[i] ?? null])) };
}

async function readFileSource(path: string): Promise<Source> {
  const value = await readJsonFile(path);
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

export async function readJsonFile(path: string): Promise<Json> {
  const text = await readFile(path, 'utf8').catch(() => {
    throw usageError(
      `cannot read the file ${path}`,
      'Check the path; it is relative to the directory you are in.',
    );
  });
  try {
    return z.json().parse(JSON.parse(text));
  } catch (error) {
    throw usageError(`${path} is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

export type Standing = { key: PolicyKey; version: number; value: Json | undefined };

/** The live policies of these keys; one that is not set has version 0 and no value. */
export async function readLive(port: OpsPort, keys: readonly PolicyKey[]): Promise<Standing[]> {
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
