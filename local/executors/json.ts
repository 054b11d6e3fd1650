/**
 * What may leave an executor: plain JSON that PostgreSQL can store. One bad value would fail the whole batch it is
 * written with, so it is caught here, with its path, before it joins one.
 */
import type { z } from 'zod';

export type Json = z.core.util.JSONType;

/** Levels of nesting, and characters in all. Far above what a result needs; the database stays responsive below. */
const maxDepth = 100;
export const maxJsonChars = 1_000_000;

/** Why a value is not JSON; `path` is empty for the value itself. */
export class NotJson extends Error {
  constructor(path: readonly (string | number)[], what: string) {
    super(`${path.length === 0 ? 'it' : path.join('.')} ${what}`);
    this.name = 'NotJson';
  }
}

type Walk = { path: (string | number)[]; chars: number };

/**
 * Returns the value as JSON: members that are undefined are left out, as JSON.stringify does. Throws `NotJson` for
 * everything else that has no JSON form (functions, dates, class instances, NaN, cycles) or is too large.
 */
export function toJson(value: unknown): Json {
  return copy(value, { path: [], chars: 0 });
}

/** NUL, and with the `u` flag a surrogate only when it stands alone. */
const unstorable = /[\0\ud800-\udfff]/u;
const unstorables = /[\0\ud800-\udfff]/gu;

/** Text that `jsonb` accepts: no NUL, no half of a surrogate pair (PostgreSQL manual, 8.14). */
export function storable(text: string): string {
  return unstorable.test(text) ? text.replaceAll(unstorables, '\ufffd') : text;
}

function copy(value: unknown, walk: Walk): Json {
  switch (typeof value) {
    case 'string':
      return spend(storable(value), value.length, walk);
    case 'boolean':
      return spend(value, 5, walk);
    case 'number':
      if (Number.isFinite(value)) return spend(value, 8, walk);
      throw new NotJson(walk.path, `is ${value}, not a finite number`);
    case 'object':
      return value === null ? null : copyObject(value, walk);
    default:
      throw new NotJson(
        walk.path,
        `is ${typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`}, not JSON`,
      );
  }
}

function copyObject(value: object, walk: Walk): Json {
  if (walk.path.length >= maxDepth) throw new NotJson([], `is nested deeper than ${maxDepth} levels`);
  if (Array.isArray(value)) return value.map((item, i) => copyMember(i, item, walk));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null)
    throw new NotJson(walk.path, `is a ${value.constructor?.name ?? 'class instance'}, not a plain object`);
  const members: [string, Json][] = [];
  for (const [key, member] of Object.entries(value))
    if (member !== undefined)
      members.push([spend(storable(key), key.length, walk), copyMember(key, member, walk)]);
  return Object.fromEntries(members);
}

function copyMember(key: string | number, value: unknown, walk: Walk): Json {
  walk.path.push(key);
  const copied = copy(value, walk);
  walk.path.pop();
  return copied;
}

function spend<T>(value: T, chars: number, walk: Walk): T {
  walk.chars += chars;
  if (walk.chars > maxJsonChars) throw new NotJson([], `is larger than ${maxJsonChars} characters`);
  return value;
}
