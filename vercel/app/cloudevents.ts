/**
 * CloudEvents 1.0 over HTTP (cloudevents/spec, HTTP protocol binding): structured, batched, or binary, where the
 * attributes are headers. `source` and `id` together are unique by that specification, so they are the dedupe key.
 */
import { z } from 'zod';
import { type EventInput, eventType } from '../../supabase/client/schemas/inputs.js';
import { checkInput } from './input.js';
import { traceMember } from './trace-context.js';

/** Lengths leave room for both in a dedupe key. Attributes of extensions are kept as they come. */
export const CloudEvent = z.looseObject({
  specversion: z.literal('1.0'),
  id: z.string().min(1).max(255),
  source: z.string().min(1).max(200),
  type: eventType,
  subject: z.string().max(1_000).optional(),
  time: z.iso.datetime({ offset: true }).optional(),
  data: z.json().optional(),
  data_base64: z.base64().optional(),
});
type CloudEvent = z.infer<typeof CloudEvent>;
export const CloudEvents = z.array(CloudEvent).min(1, 'needs at least one event');

export const isStructured = (type: string): boolean => /^application\/cloudevents\+json\b/i.test(type);
export const isBatch = (type: string): boolean => /^application\/cloudevents-batch\+json\b/i.test(type);
export const isBinary = (headers: Headers): boolean => headers.has('ce-specversion');

/** Throws `OPS_011`. */
export function fromBatch(body: unknown): EventInput[] {
  return checkInput(CloudEvents, body).map(toEvent);
}

/** Throws `OPS_011`. */
export const fromStructured = (body: unknown): EventInput => toEvent(checkInput(CloudEvent, body));

/** Throws `OPS_011`, with the names of the headers as members. `body` is undefined when there was none. */
export function fromBinary(headers: Headers, body: unknown): EventInput {
  const sent = [...headers].filter(([name]) => name.startsWith('ce-'));
  const attributes = Object.fromEntries(sent.map(([name, value]) => [name.slice(3), decode(value)]));
  return toEvent(checkInput(CloudEvent, { ...attributes, ...(body === undefined ? {} : { data: body }) }));
}

/** What is not ASCII is percent-encoded in a header; a stray percent sign is itself. */
function decode(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

/** The data is the event's; its attributes stand beside it as `cloudevent`. Data that is no object is its `value`. */
function toEvent({
  type,
  data,
  data_base64,
  specversion: _,
  traceparent,
  ...attributes
}: CloudEvent): EventInput {
  const { id, source } = attributes;
  return {
    type,
    source,
    data: {
      ...(isDocument(data) ? data : data === undefined ? {} : { value: data }),
      ...(data_base64 === undefined ? {} : { data_base64 }),
      cloudevent: checkInput(z.record(z.string(), z.json()), attributes),
    },
    dedupe_key: `cloudevent:${source} ${id}`,
    ...traceMember(traceparent),
  };
}

type Json = z.infer<ReturnType<typeof z.json>>;
const isDocument = (data: Json | undefined): data is { [key: string]: Json } =>
  typeof data === 'object' && data !== null && !Array.isArray(data);
