/**
 * Policies as documents outside of the database: how two of them differ, and how a recipe is merged into what is
 * there. Lists whose items have an `id` are told apart by it; every other list is one value.
 */
import type { z } from 'zod';

export type Json = z.core.util.JSONType;
type Members = { [name: string]: Json };

/** One place where two documents differ; a side that has nothing there is undefined. */
export type Difference = { path: string; before: Json | undefined; after: Json | undefined };

/** Where two documents differ, in the order of the second. */
export function differences(before: Json | undefined, after: Json | undefined, path = '$'): Difference[] {
  const [a, b] = [membersOf(before), membersOf(after)];
  if (a === undefined || b === undefined) return same(before, after) ? [] : [{ path, before, after }];
  const names = new Set([...Object.keys(b.members), ...Object.keys(a.members)]);
  return [...names].flatMap((name) =>
    differences(a.members[name], b.members[name], path + (b.isList ? `[${name}]` : `.${name}`)),
  );
}

/** `value` with what `recipe` adds or replaces; nothing is taken away. */
export function merge(value: Json | undefined, recipe: Json): Json {
  const [mine, theirs] = [membersOf(value), membersOf(recipe)];
  if (mine === undefined || theirs === undefined || mine.isList !== theirs.isList) return recipe;
  const merged: Members = { ...mine.members };
  for (const [name, member] of Object.entries(theirs.members)) merged[name] = merge(merged[name], member);
  return theirs.isList ? Object.values(merged) : merged;
}

/** An object's members, or a list's by their ids; undefined for what is one value. */
function membersOf(value: Json | undefined): { isList: boolean; members: Members } | undefined {
  if (Array.isArray(value)) {
    const ids = value.map(idOf);
    if (ids.some((id) => id === undefined) || new Set(ids).size < ids.length) return undefined;
    return { isList: true, members: Object.fromEntries(value.map((item, i) => [String(ids[i]), item])) };
  }
  return isObject(value) ? { isList: false, members: value } : undefined;
}

function idOf(item: Json): string | undefined {
  return isObject(item) && typeof item.id === 'string' ? item.id : undefined;
}

function isObject(value: Json | undefined): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Member order does not matter, as it does not in jsonb. */
function same(a: Json | undefined, b: Json | undefined): boolean {
  return JSON.stringify(a, ordered) === JSON.stringify(b, ordered);
}

function ordered(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
