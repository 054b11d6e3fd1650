/**
 * Secrets of a local start that nobody set: made once, kept in `secrets.json` of the data directory, readable by its
 * owner alone. What the environment says always wins.
 */
import { randomBytes } from 'node:crypto';
import { chmod, link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { OpsError } from '../supabase/client/errors.js';
import type { Environment } from './env.js';

const names = ['OPS_API_KEY', 'CRON_SECRET', 'GITHUB_WEBHOOK_SECRET'] as const;
type SecretName = (typeof names)[number];
export type Secrets = Record<SecretName, string>;

const SecretsFile = z.partialRecord(z.enum(names), z.string().min(32));

export type ProvidedSecrets = {
  secrets: Secrets;
  /** Those that the environment does not set. */
  made: SecretName[];
  /** Where they are kept; undefined when all are set. */
  file: string | undefined;
};

/** Throws `OPS_016` when the file cannot be read or written. */
export async function provideSecrets(env: Environment, directory: string): Promise<ProvidedSecrets> {
  const made = names.filter((name) => env[name] === undefined);
  if (made.length === 0) return { secrets: fromEnvironment(env, {}), made, file: undefined };
  const file = fileIn(directory);
  const kept = await readSecrets(file);
  if (made.some((name) => kept[name] === undefined)) await writeSecrets(directory, file, kept);
  return { secrets: fromEnvironment(env, await readSecrets(file)), made, file };
}

/** The key of the environment, else the one that a start has made; makes none. Throws `OPS_016` like that start. */
export async function findApiKey(env: Environment, directory: string): Promise<string | undefined> {
  return env.OPS_API_KEY ?? (await readSecrets(fileIn(directory))).OPS_API_KEY;
}

const fileIn = (directory: string): string => join(directory, 'secrets.json');

function fromEnvironment(env: Environment, kept: Partial<Secrets>): Secrets {
  return Object.fromEntries(names.map((name) => [name, env[name] ?? kept[name]])) as Secrets;
}

/** 256 random bits each. */
export const newSecrets = (): Secrets =>
  Object.fromEntries(names.map((name) => [name, randomBytes(32).toString('hex')])) as Secrets;

async function readSecrets(file: string): Promise<Partial<Secrets>> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '{}';
    throw unusable(file, error);
  });
  try {
    return SecretsFile.parse(JSON.parse(text)) as Partial<Secrets>;
  } catch {
    // The parser's message would repeat what is in the file.
    throw unusable(file);
  }
}

/** In one step: a start beside this one reads all or nothing, and of two first ones the first is kept. */
async function writeSecrets(directory: string, file: string, kept: Partial<Secrets>): Promise<void> {
  try {
    // Enter but not list: the embedded server's account passes through to its data.
    if ((await mkdir(directory, { recursive: true })) !== undefined) await chmod(directory, 0o711);
    const draft = `${file}.${process.pid}`;
    await writeFile(draft, `${JSON.stringify({ ...newSecrets(), ...kept }, null, 2)}\n`, { mode: 0o600 });
    const first = Object.keys(kept).length === 0;
    await (first ? link(draft, file).catch(unlessPresent) : rename(draft, file));
    await rm(draft, { force: true });
  } catch (error) {
    throw unusable(file, error);
  }
}

function unlessPresent(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}

const unusable = (file: string, cause?: unknown): OpsError =>
  new OpsError('OPS_016', `the secrets in ${file} cannot be read or written`, {
    hint: `Remove the file for new ones, or set ${names.join(', ')} yourself.`,
    cause,
  });
