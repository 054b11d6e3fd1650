/**
 * JSON as a schema that looks at a value once. `z.json()` takes every value, however deep, through a union of six schemas,
 * copies it and watches for cycles: that was a third of what a worker spends on a step.
 */
import { z } from 'zod';

export type Json = z.core.util.JSONType;
type Document = Record<string, Json>;

/** Deeper than anything real; also what ends the walk of a value that holds itself. */
const maxDepth = 1_000;
const says = 'Invalid input: expected JSON';

/** Any JSON value. */
export const json = z.unknown().refine(isJson, says) as unknown as z.ZodType<Json, Json>;
/** A JSON object. */
export const document = z.record(z.string(), z.unknown()).refine(isJson, says) as unknown as z.ZodType<
  Document,
  Document
>;

function isJson(value: unknown): boolean {
  return fits(value, 0);
}

function fits(value: unknown, depth: number): boolean {
  if (typeof value === 'object') return value === null || (depth < maxDepth && isContainer(value, depth + 1));
  return typeof value === 'number'
    ? Number.isFinite(value)
    : typeof value === 'string' || typeof value === 'boolean';
}

function isContainer(value: object, depth: number): boolean {
  if (Array.isArray(value)) return value.every((item) => fits(item, depth));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  return Object.values(value).every((member) => fits(member, depth));
}
