/** The fields of every policy as the page docs/policies.md writes them: a path, and type with bounds in words. */
import { policies } from '../../supabase/client/schemas/policies.js';
import type { PolicyKey } from '../../supabase/client/terms.js';
import { toSchema } from '../schema/generate.js';

export type Schema = {
  type?: string;
  enum?: string[];
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | false;
  items?: Schema;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
};
export type Field = { path: string; type: string };

/** What is the same for each role, risk or scope is said once. */
const families: Partial<Record<PolicyKey, [RegExp, string]>> = {
  agent_roles: [/^\w+/, '<role>'],
  approvals: [/^voting\.\w+/, 'voting.<risk>'],
  budgets: [/^(global|(role|executor|pattern)\.<name>)\./, '<scope>.'],
};

/** The path of a field as the page writes it. */
export function familyOf(key: PolicyKey, path: string): string {
  const [from, to] = families[key] ?? [/^/, ''];
  return path.replace(from, to);
}

export function fieldsOf(key: PolicyKey): Field[] {
  const fields = within(toSchema(policies[key]) as Schema, '');
  const named = fields.map(
    ({ path, type }) => [familyOf(key, path), { path: familyOf(key, path), type }] as const,
  );
  return [...new Map(named).values()];
}

/** Lists of objects are `name[]`, objects by a free name are `name.<name>`. */
function within(schema: Schema, path: string): Field[] {
  if (schema.properties !== undefined)
    return Object.entries(schema.properties).flatMap(([name, member]) => {
      const at = path === '' ? name : `${path}.${name}`;
      return [{ path: at, type: inWords(member) }, ...below(member, at)];
    });
  return below(schema, path);
}

function below(schema: Schema, path: string): Field[] {
  if (schema.properties !== undefined) return within(schema, path);
  if (schema.items?.properties !== undefined) return within(schema.items, `${path}[]`);
  const { additionalProperties } = schema;
  if (typeof additionalProperties === 'object' && additionalProperties.properties !== undefined)
    return within(additionalProperties, `${path}.<name>`);
  return [];
}

function inWords(schema: Schema): string {
  const { anyOf, items, type, additionalProperties } = schema;
  if (schema.enum !== undefined) return schema.enum.map((word) => `\`${word}\``).join(', ');
  if (anyOf !== undefined) return anyOf.map(inWords).join('; or ');
  switch (type) {
    case 'boolean':
      return 'true or false';
    case 'integer':
    case 'number':
      return `${type}${range(schema)}`;
    case 'string':
      return `text${length(schema)}`;
    case 'array':
      return `list${count(schema)}${items?.properties === undefined ? ` of ${inWords(items ?? {})}` : ''}`;
    case 'object':
      return typeof additionalProperties === 'object' && additionalProperties.properties === undefined
        ? `object of ${inWords(additionalProperties)} by name`
        : 'object';
    default:
      return 'any JSON';
  }
}

function range({ minimum, maximum, exclusiveMinimum }: Schema): string {
  if (exclusiveMinimum !== undefined) return `, over ${exclusiveMinimum}, at most ${maximum}`;
  return minimum === undefined || maximum === undefined ? '' : `, ${minimum} to ${maximum}`;
}

const length = ({ maxLength }: Schema): string => (maxLength === undefined ? '' : ` (at most ${maxLength})`);
const count = ({ minItems, maxItems }: Schema): string =>
  maxItems === undefined ? '' : ` (${minItems === undefined ? 'at most' : `${minItems} to`} ${maxItems})`;
