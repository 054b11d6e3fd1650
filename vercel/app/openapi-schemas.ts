/** From zod to the schemas of an OpenAPI 3.1 document. Rows of the engine stand in it once, by their names in code. */
import { z } from 'zod';
import { errorTable, type OpsCode } from '../../supabase/client/errors.js';
import * as rows from '../../supabase/client/schemas/rows.js';

export type JsonSchema = { [keyword: string]: unknown };
/** `input`: what may be sent, before defaults. `output`: what is answered. */
export type Io = 'input' | 'output';

export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  instance: z.string(),
  code: z.enum(Object.keys(errorTable) as [OpsCode, ...OpsCode[]]),
  hint: z.string().optional(),
  request_id: z.string(),
  errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
  context: z.json().optional(),
});

export type Schemas = {
  of(schema: z.ZodType, io: Io): JsonSchema;
  /** What the schemas so far refer to. */
  named(): Record<string, JsonSchema>;
};

export function createSchemas(): Schemas {
  const names = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries({ ...rows, Problem }))
    if (schema instanceof z.ZodObject) names.add(schema, { id });
  // What may be sent is written out where it is sent.
  const metadata = { input: z.registry<{ id: string }>(), output: names };
  const known: Record<string, JsonSchema> = {};
  return {
    of(schema, io) {
      // In a member it becomes a reference if it has a name; at the top it would not.
      const { properties, $defs = {} } = z.toJSONSchema(z.object({ it: schema }), {
        io,
        metadata: metadata[io],
        unrepresentable: 'any',
        override: readable(io),
      });
      // Those without a name are JSON of any kind.
      for (const [name, definition] of Object.entries($defs))
        if (!name.startsWith('__')) known[name] = inDocument(definition) as JsonSchema;
      return inDocument(properties?.it) as JsonSchema;
    },
    named: () => known,
  };
}

type Override = NonNullable<NonNullable<Parameters<typeof z.toJSONSchema>[1]>['override']>;

/** What says nothing to a reader is left out; so is that an answer will never have a further member. */
const readable = (io: Io): Override =>
  function override({ zodSchema, jsonSchema }) {
    const isTime: boolean = zodSchema === rows.timestamp;
    if (isTime || zodSchema._zod.def.type === 'lazy')
      for (const keyword of Object.keys(jsonSchema)) delete jsonSchema[keyword];
    if (isTime) Object.assign(jsonSchema, { type: 'string', format: 'date-time' });
    delete jsonSchema.id;
    if (jsonSchema.format !== undefined) delete jsonSchema.pattern;
    if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
    if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    if (io === 'output' && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
  };

/** References lead into the document. */
function inDocument(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(inDocument);
  if (typeof schema !== 'object' || schema === null) return schema;
  const { $ref, ...rest } = schema as JsonSchema;
  if (typeof $ref === 'string')
    return $ref.startsWith('#/$defs/__') ? {} : { $ref: $ref.replace('#/$defs/', '#/components/schemas/') };
  return Object.fromEntries(Object.entries(rest).map(([keyword, value]) => [keyword, inDocument(value)]));
}
