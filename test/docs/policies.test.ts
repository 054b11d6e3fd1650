/** The reference of policies against the schemas and the database: every field, its bounds, and every example. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { projectRoot } from '../../local/env.js';
import { type PolicyKey, policyKeys } from '../../supabase/client/terms.js';
import { useDatabase } from '../support/database.js';
import { familyOf, fieldsOf } from './policy-fields.js';

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

const page = readFileSync(join(projectRoot, 'docs/policies.md'), 'utf8');
const sections = new Map(
  [...page.matchAll(/^## `(\w+)`\n(.*?)(?=^## |$(?![\s\S]))/gms)].map(([, key = '', text = '']) => [
    key,
    text,
  ]),
);
const examples = [...page.matchAll(/^```json policy=(\w+) name=([\w-]+)\n(.*?)^```$/gms)].map(
  ([, key = '', name = '', text = '']) => ({ key: key as PolicyKey, name, text }),
);
/** Rows of the table of fields; that of scopes names no type. */
const rowsOf = (key: string) =>
  [...(sections.get(key) ?? '').matchAll(/^\| `([^`]+)` \| ([^|]+) \| ([^|]*) \| ([^|]+) \|$/gm)].map(
    ([, path = '', type = '']) => ({ path, type }),
  );

/** The fields that a value uses, written as the page writes them. */
function used(key: PolicyKey, value: Json): Set<string> {
  const known = new Set(fieldsOf(key).map(({ path }) => path));
  const found = new Set<string>();
  const walk = (node: Json, path: string): void => {
    if (Array.isArray(node)) for (const item of node) walk(item, `${path}[]`);
    else if (node !== null && typeof node === 'object')
      for (const [name, member] of Object.entries(node)) {
        const at = [name, '<name>'].map((last) => (path === '' ? last : `${path}.${last}`));
        const [own = '', any = ''] = at;
        const field = familyOf(key, own);
        if (known.has(field)) found.add(field);
        walk(member, known.has(field) ? own : any);
      }
  };
  walk(value, '');
  return found;
}

const db = useDatabase();

describe('docs/policies.md', () => {
  test('has a section for every key, and for no other', () => {
    expect([...sections.keys()]).toEqual([...policyKeys]);
  });

  test.each(policyKeys)(
    '%s: lists every field of the schema with its type and bounds, and no other',
    (key) => {
      const sorted = (fields: { path: string }[]) => fields.toSorted((a, b) => (a.path < b.path ? -1 : 1));
      expect(sorted(rowsOf(key))).toEqual(sorted(fieldsOf(key)));
    },
  );

  test.each(policyKeys)('%s: every field stands in an example', (key) => {
    const own = examples.filter((example) => example.key === key);
    const all = own.flatMap(({ text }) => [...used(key, JSON.parse(text) as Json)]);
    expect([...new Set(all)].sort()).toEqual(
      fieldsOf(key)
        .map(({ path }) => path)
        .sort(),
    );
  });

  test('gives each example a name of its own, and leaves none unmarked', () => {
    const names = examples.map(({ key, name }) => `${key} ${name}`);
    expect(new Set(names).size).toBe(names.length);
    expect(page.match(/^```json/gm)).toHaveLength(examples.length);
  });

  test.each(examples)(
    '$key: the example $name is accepted by the database, without a warning',
    async ({ key, text }) => {
      expect(await db.sql('select * from ops_validate_policy($1, $2)', [key, text])).toEqual([]);
      await db.sql('delete from ops_policy where key = $1', [key]);
      await db.sql('insert into ops_policy (key, value) values ($1, $2)', [key, text]);
      expect(await db.one('select value from ops_policy where key = $1', [key])).toEqual({
        value: JSON.parse(text),
      });
    },
  );

  test('says of each key whether it is acted on, in the overview and in its section alike', () => {
    const later = 'alidated now, acted on by a later version';
    const states = [...page.matchAll(/^\| \[`(\w+)`\]\(#\w+\) \| .+ \| (.+) \|$/gm)];
    expect(states.map(([, key]) => key)).toEqual([...policyKeys]);
    for (const [, key = '', state = ''] of states)
      expect({ key, later: sections.get(key)?.includes(later) }).toEqual({
        key,
        later: state.includes(later),
      });
  });
});
