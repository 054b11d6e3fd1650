/**
 * Policies as documents outside of the database: how two of them differ, and how a recipe is merged into what is
 * there. Items of a list that all have an `id` are told apart by it; every other list is one value, but for a difference,
 * which tells steps apart by their `key`. Numbers are their digits.
 */
import { type ExactJson, JsonText } from './json-text.js';

type Json = ExactJson;
type Members = Map<string, Json>;
/** A member of items that tells them apart. */
type Mark = 'id' | 'key';

/** One place where two documents differ; a side that has nothing there is undefined. */
export type Difference = { path: string; before: Json | undefined; after: Json | undefined };

/**
 * Where two documents differ, in the order of the second, as `jsonb` compares them: 1.0 is 1, and the order of a list
 * counts. Of lists that hold the same items otherwise placed, the ids are told.
 */
export function differences(before: Json | undefined, after: Json | undefined, path = '$'): Difference[] {
  const [a, b] = [membersOf(before, marks), membersOf(after, marks)];
  if (a === undefined || b === undefined || a.mark !== b.mark)
    return same(before, after) ? [] : [{ path, before, after }];
  const names = new Set([...b.members.keys(), ...a.members.keys()]);
  const found = [...names].flatMap((name) =>
    differences(
      a.members.get(name),
      b.members.get(name),
      path + (b.mark === undefined ? `.${name}` : `[${name}]`),
    ),
  );
  return b.mark === undefined ? found : [...moved(a.members, b.members, `${path}[].${b.mark}`), ...found];
}

const marks = ['id', 'key'] as const;

/** The order of what both lists have. */
function moved(a: Members, b: Members, path: string): Difference[] {
  const before = [...a.keys()].filter((id) => b.has(id));
  const after = [...b.keys()].filter((id) => a.has(id));
  return same(before, after) ? [] : [{ path, before, after }];
}

/** `value` with what `recipe` adds or replaces; nothing is taken away. */
export function merge(value: Json | undefined, recipe: Json): Json {
  const [mine, theirs] = [membersOf(value, ['id']), membersOf(recipe, ['id'])];
  if (mine === undefined || theirs === undefined || mine.mark !== theirs.mark) return recipe;
  const merged = new Map(mine.members);
  for (const [name, member] of theirs.members) merged.set(name, merge(merged.get(name), member));
  return theirs.mark === undefined ? Object.fromEntries(merged) : [...merged.values()];
}

/** An object's members, or a list's by the first mark that tells all of them apart; undefined for what is one value. */
function membersOf(
  value: Json | undefined,
  by: readonly Mark[],
): { mark: Mark | undefined; members: Members } | undefined {
  if (!Array.isArray(value))
    return isObject(value) ? { mark: undefined, members: new Map(Object.entries(value)) } : undefined;
  for (const mark of by) {
    const members = new Map(value.map((item) => [markOf(item, mark), item]));
    if (isMarked(members) && members.size === value.length) return { mark, members };
  }
  return undefined;
}

const isMarked = (members: Map<string | undefined, Json>): members is Members => !members.has(undefined);

function markOf(item: Json, mark: Mark): string | undefined {
  const name = isObject(item) ? item[mark] : undefined;
  return typeof name === 'string' ? name : undefined;
}

function isObject(value: Json | undefined): value is { [name: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof JsonText);
}

const same = (a: Json | undefined, b: Json | undefined): boolean => canonical(a) === canonical(b);

/** One text for all that `jsonb` holds to be equal: neither the order of members nor zeros at an end count. */
function canonical(value: Json | undefined): string {
  if (value instanceof JsonText) return decimal(value.text);
  if (typeof value === 'number') return decimal(String(value));
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (!isObject(value)) return String(JSON.stringify(value));
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`;
}

/** A number as its digits without zeros at an end, and the power of ten that they are counted in. */
function decimal(text: string): string {
  const [, sign = '', whole = '', part = '', power = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(text) ?? [];
  const digits = (whole + part).replace(/^0+/, '');
  const kept = digits.replace(/0+$/, '');
  return kept === '' ? '0' : `${sign}${kept}e${Number(power) - part.length + digits.length - kept.length}`;
}
