/** Answers that have to fit a JSON Schema: the schema made a checker, and an answer read out of a model's text. */
import { z } from 'zod';
import { jsonOf, lastJson } from '../../process/last-json.js';
import { StepError } from '../contract.js';

export type Read = { ok: true; value: unknown } | { ok: false; problem: string };
export type OutputReader = { schema: Record<string, unknown>; read(text: string): Read };

const maxSchemaChars = 50_000;
const maxSchemaDepth = 50;
/** Expressions that would run over a model's text: their time could grow out of proportion to it. */
const refusedKeywords = ['pattern', 'patternProperties'];

/** Throws a permanent `StepError` for a schema that cannot be checked in full. */
export function outputReader(schema: Record<string, unknown>): OutputReader {
  const checker = compile(schema);
  const fits = (value: unknown): boolean => checker.safeParse(value).success;
  return {
    schema,
    read(text) {
      const value = jsonOf(text) ?? lastJson(text, fits) ?? lastJson(text);
      if (value === undefined) return { ok: false, problem: 'the answer holds no JSON' };
      const parsed = checker.safeParse(value);
      return parsed.success ? { ok: true, value } : { ok: false, problem: z.prettifyError(parsed.error) };
    },
  };
}

function compile(schema: Record<string, unknown>): z.ZodType {
  const refused = JSON.stringify(schema).length > maxSchemaChars ? 'it is too large' : findRefused(schema, 0);
  if (refused !== undefined) throw badSchema(refused);
  try {
    return z.fromJSONSchema(schema);
  } catch (error) {
    throw badSchema(error instanceof Error ? error.message : String(error));
  }
}

/** Names of properties are names, whatever they are called. */
function findRefused(node: unknown, depth: number, areNames = false): string | undefined {
  if (depth > maxSchemaDepth) return `it is nested deeper than ${maxSchemaDepth} levels`;
  if (typeof node !== 'object' || node === null) return undefined;
  for (const [key, member] of Object.entries(node)) {
    if (!areNames && refusedKeywords.includes(key)) return `it uses ${key}`;
    const found = findRefused(member, depth + 1, !areNames && key === 'properties');
    if (found !== undefined) return found;
  }
  return undefined;
}

const badSchema = (why: string): StepError =>
  new StepError(`the output schema of this step cannot be used: ${why}`, {
    outcome: 'permanent',
    errorClass: 'InvalidParams',
  });

export const schemaRule = (schema: Record<string, unknown>): string =>
  `Answer with one JSON value that fits this JSON Schema, and with nothing else:\n${JSON.stringify(schema)}`;

const maxProblemChars = 2_000;
export const repairPrompt = (problem: string): string =>
  `That answer does not fit the schema:\n${problem.slice(0, maxProblemChars)}\nAnswer again, with the corrected JSON value and nothing else.`;
