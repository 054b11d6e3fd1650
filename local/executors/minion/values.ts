/**
 * Values of a step as arguments of a program. The policy says where they stand, and options stand in the policy: a
 * value never becomes one. So a value that begins with a dash is refused, unless it stands behind a prefix in the same
 * argument or behind the argument `--`, which ends the options (POSIX, Utility Conventions, guideline 10).
 */
import { lstat, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { CommandValue } from '../../../supabase/client/schemas/policies.js';
import { confine } from '../../process/confine.js';
import { StepError } from '../contract.js';
import type { Grant } from './grants.js';
import { matches } from './pattern.js';

/** What a pattern is tried on, and a text may hold, unless the policy says otherwise. */
const defaultLength = 1_000;
/** Linux takes 131,071 bytes in one argument (execve(2)). */
const maxBytes = 131_071;

export type Place = {
  /** Real path of the workspace, which paths may not leave. */
  root: string;
  /** Where the program runs, and relative paths begin. */
  cwd: string;
};
type Given = string | number;

/** The program's arguments. Throws a permanent `StepError` of class `InvalidArguments` or `Confinement`. */
export async function toArguments(grant: Grant, given: readonly Given[], place: Place): Promise<string[]> {
  const values = given.map(String);
  const made: string[] = [];
  for (const item of grant.arguments ?? []) {
    if (typeof item === 'string') made.push(item);
    else
      for (const value of taken(grant, item, values)) made.push(await toArgument(item, value, place, made));
  }
  if (values.length > 0)
    throw invalid(`${grant.name} was given ${given.length} values, ${values.length} more than it takes`);
  return made;
}

/** Takes the values that belong to an item off the list. */
function taken({ name }: Grant, item: CommandValue, values: string[]): string[] {
  const found = values.splice(0, item.repeat ?? 1);
  if (found.length === 0 && item.optional !== true)
    throw invalid(`${name} needs a value more: ${inWords(item)}`);
  return found;
}

async function toArgument(
  item: CommandValue,
  value: string,
  place: Place,
  before: readonly string[],
): Promise<string> {
  const why = problem(item, value);
  if (why !== undefined) throw invalid(`${JSON.stringify(value.slice(0, 100))} ${why}`);
  const safe = await checkedPath(item, value, place);
  const argument = `${item.prefix ?? ''}${safe}`;
  if (safe.startsWith('-') && item.prefix === undefined && !before.includes('--'))
    throw invalid(
      `${JSON.stringify(value.slice(0, 100))} begins with a dash, and no value may become an option`,
    );
  if (argument.includes('\0') || Buffer.byteLength(argument) > maxBytes)
    throw invalid('a value is too long for an argument, or has a NUL in it');
  return argument;
}

/** Why a value does not fit; undefined when it does. */
function problem(item: CommandValue, value: string): string | undefined {
  switch (item.value) {
    case 'word':
      return item.words?.includes(value) ? undefined : `is not ${inWords(item)}`;
    case 'integer':
      return isInteger(item, value) ? undefined : `is not ${inWords(item)}`;
    case 'pattern':
      return isMatch(item, value) ? undefined : `is not ${inWords(item)}`;
    default:
      return [...value].length <= (item.max_length ?? defaultLength) ? undefined : `is not ${inWords(item)}`;
  }
}

function isInteger({ min = 0, max = Number.MAX_SAFE_INTEGER }: CommandValue, value: string): boolean {
  return /^(0|-?[1-9]\d{0,15})$/.test(value) && Number(value) >= min && Number(value) <= max;
}

function isMatch({ pattern, max_length = defaultLength }: CommandValue, value: string): boolean {
  if (pattern === undefined || [...value].length > max_length) return false;
  try {
    return matches(pattern, value);
  } catch (error) {
    throw invalid(`the pattern ${pattern} of the policy cannot be used: ${(error as Error).message}`);
  }
}

/** A path as its real path inside of the workspace; any other value as it is. */
async function checkedPath(item: CommandValue, value: string, { root, cwd }: Place): Promise<string> {
  if (item.value === 'path') {
    const path = await confine(root, resolve(cwd, value));
    const found = await stat(path);
    if (found.isFile() || found.isDirectory()) return path;
    throw invalid(`${JSON.stringify(value)} is neither a file nor a directory`);
  }
  if (item.value !== 'new_path') return value;
  const path = resolve(cwd, value);
  const parent = await confine(root, dirname(path));
  const made = join(parent, basename(path));
  // A link that leads nowhere yet would be followed when it is written to.
  const isThere = await lstat(made).then(
    () => true,
    () => false,
  );
  return isThere ? confine(root, made) : made;
}

function inWords({
  value,
  words = [],
  min = 0,
  max,
  pattern,
  max_length = defaultLength,
}: CommandValue): string {
  switch (value) {
    case 'word':
      return words.length === 0 ? 'a word, of which the policy names none' : `one of ${words.join(', ')}`;
    case 'integer':
      return `an integer from ${min}${max === undefined ? '' : ` to ${max}`}`;
    case 'pattern':
      return `a value like ${pattern ?? 'the pattern that the policy leaves out'} of at most ${max_length} characters`;
    case 'text':
      return `a text of at most ${max_length} characters`;
    default:
      return 'a path inside of the workspace';
  }
}

const invalid = (message: string): StepError =>
  new StepError(message, {
    outcome: 'permanent',
    errorClass: 'InvalidArguments',
    hint: "Compare the step's arguments with commands of worker_policy.",
  });
