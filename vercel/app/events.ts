/**
 * `POST /api/ops/events`: one event, a list, `{"events": [...]}`, or CloudEvents. Storing them is all that happens
 * here.
 */
import { z } from 'zod';
import { JsonText } from '../../supabase/client/json-text.js';
import { EventInput, type SentEvent } from '../../supabase/client/schemas/inputs.js';
import {
  type BodyLimits,
  decode,
  defaultMaxKeys,
  parseText,
  readBytes,
  readJson,
  readOptionalJson,
  requireJson,
} from './body.js';
import * as cloudevents from './cloudevents.js';
import type { AppDeps } from './deps.js';
import { answers, described, type Endpoint } from './endpoint.js';
import { exactText, memberOf, partsOf } from './exact.js';
import { checkInput } from './input.js';
import { answerReceipts, Receipted } from './receipts.js';
import { inTrace } from './trace-context.js';

const EventList = z.array(EventInput).min(1, 'needs at least one event');
const EventEnvelope = z.strictObject({ events: EventList });
type Sent = { events: SentEvent[]; single: boolean };

const spec = {
  summary: 'Stores events, each once by its dedupe key; the next beat decides them',
  body: z.union([EventInput, EventList, EventEnvelope]),
  otherBodies: {
    'application/cloudevents+json': cloudevents.CloudEvent,
    'application/cloudevents-batch+json': cloudevents.CloudEvents,
  },
  answers: {
    201: answers('At least one event is new. One event answers one receipt, a list a list.', Receipted),
    200: answers('All of them were known before.', Receipted),
  },
};

export function receiveEvents({ port, env }: AppDeps): Endpoint {
  const limits = { maxBytes: env.OPS_MAX_BODY_BYTES, maxKeys: defaultMaxKeys };
  return described(spec, async function receiveEvents(c) {
    const { events: sent, single } = await readEvents(c.req.raw, limits);
    const events = inTrace(c.req.raw.headers, sent);
    return answerReceipts(c, await port.emitEvents({ events }), { single, ifNew: 201 });
  });
}

async function readEvents(request: Request, limits: BodyLimits): Promise<Sent> {
  const type = request.headers.get('content-type') ?? '';
  if (cloudevents.isBatch(type))
    return { events: cloudevents.fromBatch(await readJson(request, limits)), single: false };
  if (cloudevents.isStructured(type))
    return { events: [cloudevents.fromStructured(await readJson(request, limits))], single: true };
  if (cloudevents.isBinary(request.headers)) {
    const data = await readOptionalJson(request, limits);
    return { events: [cloudevents.fromBinary(request.headers, data)], single: true };
  }
  requireJson(request);
  const text = decode(await readBytes(request, limits.maxBytes));
  const sent = ownEvents(parseText(text, limits.maxKeys));
  return exactText(text) === undefined ? sent : { ...sent, events: inTheirWords(sent, text) };
}

/** The same events, with their data as it was written. */
function inTheirWords({ events, single }: Sent, text: string): SentEvent[] {
  const list = single ? undefined : (memberOf(text, 'events') ?? text);
  const texts = list === undefined ? [text] : partsOf(list).map(([, item]) => item);
  return events.map((event, n) => {
    const data = memberOf(texts[n] ?? '{}', 'data');
    return data === undefined ? event : { ...event, data: new JsonText(data) };
  });
}

/** Checked in the shape it was sent in, so that a pointer in the answer fits the caller's own document. */
function ownEvents(body: unknown): Sent {
  if (Array.isArray(body)) return { events: checkInput(EventList, body), single: false };
  if (typeof body === 'object' && body !== null && Object.hasOwn(body, 'events'))
    return { events: checkInput(EventEnvelope, body).events, single: false };
  return { events: [checkInput(EventInput, body)], single: true };
}
