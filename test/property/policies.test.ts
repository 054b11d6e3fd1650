/**
 * zod and the interpreter in SQL are two readers of one schema: over generated policies, good ones and broken ones,
 * they must agree. fast-check prints seed and path of a counterexample; `fc.assert(…, { seed, path })` repeats it.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { z } from 'zod';
import { everComes, isTimeZone } from '../../supabase/client/cron.js';
import { policies, Template } from '../../supabase/client/schemas/policies.js';
import { inOrder, type Thresholds } from '../../supabase/client/schemas/thresholds.js';
import { alertNames, policyKeys } from '../../supabase/client/terms.js';
import { toSchema } from '../schema/generate.js';
import { useDatabase } from '../support/database.js';

const db = useDatabase();
/** The same policies each time; `OPS_TEST_SEED=…` draws others, which is how counterexamples are hunted. */
const seed = Number(process.env.OPS_TEST_SEED ?? 1120);

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Schema = {
  type?: string;
  const?: Json;
  enum?: Json[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | false;
  propertyNames?: Schema;
  items?: Schema;
  pattern?: string;
  [bound: string]: unknown;
};

const types: Record<string, z.ZodType> = {
  ...Object.fromEntries(policyKeys.map((key) => [`policy:${key}`, policies[key]])),
  template: Template,
};
const schemas = Object.fromEntries(
  Object.entries(types).map(([name, type]) => [name, toSchema(type) as Schema]),
);

/** ASCII, because zod counts UTF-16 units and JSON Schema characters. */
const plainText = (min = 0, max = 30) =>
  fc.string({ unit: 'grapheme-ascii', minLength: min, maxLength: Math.min(max, 30) });
const anyJson = fc.jsonValue({ maxDepth: 2, stringUnit: 'grapheme-ascii' }) as fc.Arbitrary<Json>;

/** Values that a schema of our subset accepts. */
function valid(schema: Schema): fc.Arbitrary<Json> {
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const forms = schema.anyOf ?? schema.oneOf;
  if (forms !== undefined) return fc.oneof(...forms.map(valid));
  switch (schema.type) {
    case 'boolean':
      return fc.boolean();
    case 'integer':
      return fc.integer({ min: Number(schema.minimum), max: Math.min(Number(schema.maximum), 2 ** 31 - 1) });
    case 'number':
      return number(schema);
    case 'string':
      return text(schema);
    case 'array':
      return fc.array(valid(schema.items ?? {}), { minLength: Number(schema.minItems ?? 0), maxLength: 3 });
    case 'object':
      return object(schema);
    default:
      return anyJson;
  }
}

function number({ minimum, maximum, exclusiveMinimum }: Schema): fc.Arbitrary<Json> {
  const min = Number(minimum ?? exclusiveMinimum ?? -1e9);
  return fc.double({
    min,
    max: Number(maximum ?? 1e9),
    minExcluded: exclusiveMinimum !== undefined,
    noNaN: true,
    noDefaultInfinity: true,
  });
}

function text({ pattern, minLength = 0, maxLength = 30 }: Schema): fc.Arbitrary<Json> {
  if (pattern === undefined) return plainText(Number(minLength), Number(maxLength));
  return fc
    .stringMatching(new RegExp(pattern), { size: 'xsmall' })
    .filter((t) => t.length <= Number(maxLength));
}

function object(schema: Schema): fc.Arbitrary<Json> {
  const { properties = {}, required = [], additionalProperties, propertyNames } = schema;
  const members = Object.fromEntries(
    Object.entries(properties).map(([name, member]) => [name, valid(member)]),
  );
  const fixed = fc.record(members, { requiredKeys: required }) as fc.Arbitrary<{ [name: string]: Json }>;
  if (additionalProperties === false) return fixed;
  const names = (propertyNames === undefined ? plainText(1) : valid(propertyNames)) as fc.Arbitrary<string>;
  const others = fc.dictionary(names, valid(additionalProperties ?? {}), {
    maxKeys: 3,
    noNullPrototype: true,
  });
  return fc.tuple(others, fixed).map(([some, more]) => ({ ...some, ...more }));
}

type Break = { at: number; how: 'drop' | 'add' | 'replace' | 'stretch'; by: Json };
const breaking: fc.Arbitrary<Break> = fc.record({
  at: fc.nat(200),
  how: fc.constantFrom('drop', 'add', 'replace', 'stretch'),
  by: fc.oneof(
    anyJson,
    fc.constantFrom<Json[]>(
      null,
      -1,
      0,
      0.5,
      1e15,
      2 ** 53,
      '',
      ' ',
      'a b',
      '*',
      'x:y',
      'a::b',
      '{{event.x}}',
      'x'.repeat(600),
      [],
      {},
      true,
    ),
  ),
});

/** Breaks one place of a value; the place is counted over everything inside it. May leave it valid: they still agree. */
function broken(value: Json, { at, how, by }: Break): Json {
  const copy = structuredClone({ root: value });
  const places: { parent: { [name: string]: Json } | Json[]; name: string }[] = [];
  const walk = (parent: { [name: string]: Json } | Json[]) => {
    for (const [name, member] of Object.entries(parent)) {
      places.push({ parent, name });
      if (typeof member === 'object' && member !== null) walk(member);
    }
  };
  walk(copy);
  const place = places[at % places.length];
  if (place !== undefined) change(place.parent as { [name: string]: Json }, place.name, how, by);
  return copy.root ?? null;
}

function change(parent: { [name: string]: Json }, name: string, how: Break['how'], by: Json): void {
  const member = parent[name];
  if (how === 'drop' && Array.isArray(parent)) parent.splice(Number(name), 1);
  else if (how === 'drop') delete parent[name];
  else if (how === 'add' && typeof member === 'object' && member !== null && !Array.isArray(member))
    member.unknown_x = by;
  // Beyond what a double holds there is no JSON: the database would be asked about null instead.
  else if (how === 'stretch' && typeof member === 'number' && Math.abs(member) < 1e300)
    parent[name] = member * 1e6 + 0.25;
  else if (how === 'stretch' && typeof member === 'string') parent[name] = `${member} ${member}`.repeat(3);
  else parent[name] = by;
}

type Verdict = { name: string; value: Json; problems: { path: string; message: string; fix: string }[] };

async function ask(cases: { name: string; value: Json }[]): Promise<Verdict[]> {
  const rows = await db.sql<{ problems: Verdict['problems'] }>(
    `select coalesce((select jsonb_agg(p) from public.ops_schema_problems(s.schema, c.item -> 'value') p),
         (select jsonb_agg(p) from public.ops_alert_problems(c.item -> 'value') p where s.name = 'policy:alerts'),
         (select jsonb_agg(p) from public.ops_time_problems(substr(s.name, 8), c.item -> 'value') p where s.name like 'policy:%'), '[]') as problems
     from jsonb_array_elements($1) with ordinality c(item) join public.ops_schemas s on s.name = c.item ->> 'name'
     order by c.ordinality`,
    [JSON.stringify(cases)],
  );
  return cases.map((one, i) => ({ ...one, problems: rows[i]?.problems ?? [] }));
}

/** The one thing a policy's schema cannot say, and zod does: thresholds that are the wrong way round are left out. */
function ordered(value: { rules?: { [alert: string]: Thresholds } }): void {
  for (const name of alertNames) {
    const own = value.rules?.[name];
    if (own === undefined || inOrder(name, own)) continue;
    delete own.warning;
    delete own.critical;
  }
}

/** Nor can it say which zones there are, and that a cron ever comes: drawn ones are put right. */
function known(value: { time_zone?: string; schedules?: { time_zone?: string; cron: string }[] }): void {
  for (const place of [value, ...(value.schedules ?? [])])
    if (place.time_zone !== undefined && !isTimeZone(place.time_zone)) place.time_zone = 'Europe/Berlin';
  for (const schedule of value.schedules ?? []) if (!everComes(schedule.cron)) schedule.cron = '0 9 * * 1';
}

const good = fc.constantFrom(...Object.keys(schemas)).chain((name) =>
  valid(schemas[name] ?? {}).map((drawn) => {
    const value = JSON.parse(JSON.stringify(drawn));
    if (name === 'policy:alerts') ordered(value);
    if (name.startsWith('policy:')) known(value);
    return { name, value: value as Json };
  }),
);

test('what a schema accepts, zod and the database both accept', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(good, { minLength: 10, maxLength: 10 }), async (cases) => {
      for (const { name, value, problems } of await ask(cases)) {
        expect({ name, value, problems }).toEqual({ name, value, problems: [] });
        expect({ name, value, ok: types[name]?.safeParse(value).success }).toEqual({ name, value, ok: true });
      }
    }),
    { numRuns: 40, seed },
  );
});

test('what was broken, zod and the database judge alike, and every problem says where, what and the remedy', async () => {
  let refused = 0;
  let judged = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(good, breaking), { minLength: 10, maxLength: 10 }), async (cases) => {
      const values = cases.map(([{ name, value }, how]) => ({ name, value: broken(value, how) }));
      for (const { name, value, problems } of await ask(values)) {
        const ok = types[name]?.safeParse(value).success;
        expect({ name, value, ok }).toEqual({ name, value, ok: problems.length === 0 });
        for (const { path, message, fix } of problems)
          expect([path, message, fix].join(' ')).toMatch(/^\$.* .+ \S+/s);
        judged += 1;
        refused += ok === false ? 1 : 0;
      }
    }),
    { numRuns: 60, seed },
  );
  expect(refused, `of ${judged} broken policies`).toBeGreaterThan(judged / 4);
});

test('thresholds of alerts in any order, zod and the database judge alike', async () => {
  const threshold = fc.oneof(
    fc.integer({ min: -5, max: 1_200 }),
    fc.double({ min: 0, max: 100, noNaN: true }),
  );
  const own = fc.record({ warning: threshold, critical: threshold }, { requiredKeys: [] });
  const drawn = fc.array(fc.tuple(fc.constantFrom(...alertNames), own), { minLength: 60, maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(drawn, async (rules) => {
      const cases = rules.map(([name, thresholds]) => ({
        name: 'policy:alerts',
        value: JSON.parse(JSON.stringify({ rules: { [name]: thresholds } })) as Json,
      }));
      const verdicts = await ask(cases);
      for (const { value, problems } of verdicts) {
        const ok = policies.alerts.safeParse(value).success;
        expect({ value, ok }).toEqual({ value, ok: problems.length === 0 });
      }
      const refused = verdicts.filter(({ problems }) => problems.length > 0).length;
      expect(Math.min(refused, verdicts.length - refused), 'both are drawn').toBeGreaterThan(10);
    }),
    { numRuns: 10, seed },
  );
});

test('a value whose placeholders stand for anything is accepted as a whole', async () => {
  const { problems } = await db.one<{ problems: number }>(
    `select count(*)::int as problems from public.ops_executors e,
       public.ops_schema_problems(e.params_schema, '{"sleep_ms": "{{event.data.ms}}", "hang": "{{event.data.hang}}", "fail": "{{event.x}}"}', '$', true)
     where e.name = 'noop'`,
  );
  expect(problems).toBe(0);
});
