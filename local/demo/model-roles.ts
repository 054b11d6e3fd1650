/** What the stand-in model says when nobody gives it a script: something of the right form, the same every time. */
import type { Reply, Told } from './model.js';

/** Reads back the task, or makes up the smallest value that fits the schema it was asked for. */
export function replyInRole({ body }: Told): Reply {
  const schema = askedSchema(body.messages.find(({ role }) => role === 'system')?.content ?? '');
  if (schema !== undefined) return { text: JSON.stringify(sampleOf(schema)) };
  const task = body.messages.findLast(({ role }) => role === 'user')?.content ?? '';
  return { text: `Done: ${task.split('\n')[0]?.slice(0, 200)}` };
}

/** The schema stands in the last line of the system prompt. */
function askedSchema(system: string): unknown {
  try {
    return /JSON Schema/.test(system) ? JSON.parse(system.split('\n').at(-1) ?? '') : undefined;
  } catch {
    return undefined;
  }
}

type Schema = {
  type?: string;
  enum?: unknown[];
  const?: unknown;
  properties?: Record<string, unknown>;
  items?: unknown;
  minItems?: number;
  minimum?: number;
  description?: string;
};

export function sampleOf(schema: unknown): unknown {
  const {
    type,
    enum: choices,
    const: fixed,
    properties,
    items,
    minItems,
    minimum,
    description,
  } = schema as Schema;
  if (fixed !== undefined || choices !== undefined) return fixed ?? choices?.[0];
  switch (type) {
    case 'object':
      return Object.fromEntries(
        Object.entries(properties ?? {}).map(([name, member]) => [name, sampleOf(member)]),
      );
    case 'array':
      return Array.from({ length: Math.max(1, minItems ?? 0) }, () => sampleOf(items ?? {}));
    case 'number':
    case 'integer':
      return Math.max(1, minimum ?? 1);
    case 'boolean':
      return true;
    default:
      return description ?? 'a text of the right form';
  }
}
